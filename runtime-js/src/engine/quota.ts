// Tells before a download that the browser will not keep it.
import type { Warning } from "../bundle/index.js";
import { storageFacts } from "../device/storage.js";

/** The warning where `bytes` are more than `room`; undefined where they are not, or the browser does not tell. */
export const tooSmall = (bytes: number, room: number | null): Warning | undefined =>
  room === null || bytes <= room
    ? undefined
    : {
        code: "storage-small",
        message:
          `The browser keeps ${megabytes(room)} here, and the model has ${megabytes(bytes)}: ` +
          "the rest is fetched again at the next visit.",
      };

/** Warns where the whole quota is smaller than a bundle of so many bytes, which may be kept already. */
export async function warnOfQuota(bytes: number, warn: ((warning: Warning) => void) | undefined): Promise<void> {
  if (!warn) return;
  const { quota } = await storageFacts();
  const warning = tooSmall(bytes, quota);
  if (warning) warn(warning);
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
