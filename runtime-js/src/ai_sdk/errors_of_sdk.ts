// Makes the AI SDK's errors. It knows them by a mark, not by class, so that this file need not import the SDK.

const marked = (name: string, message: string, fields: object): Error => {
  const error = new Error(message);
  const marks = { [Symbol.for("vercel.ai.error")]: true, [Symbol.for(`vercel.ai.error.${name}`)]: true };
  return Object.assign(error, { name, ...fields, ...marks });
};

export const unsupported = (functionality: string): Error =>
  marked("AI_UnsupportedFunctionalityError", `mlcweb does not support ${functionality}.`, { functionality });

export const noSuchModel = (modelId: string, modelType: string, message: string): Error =>
  marked("AI_NoSuchModelError", message, { modelId, modelType });

/** The SDK knows a cancelled call by the signal's own reason. */
export async function bySignal<T>(signal: AbortSignal | undefined, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
