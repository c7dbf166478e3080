// Holds the pictures that go with the next message: chosen, dropped or pasted, and shown above the input. The page
// shows how to add some for models that take them.
import { type ChatMessage, InvalidRequestError } from "mlcweb";
import { $, add } from "./dom.js";

export interface Attached {
  readonly file: File;
  /** The picture in little. */
  readonly view: HTMLCanvasElement;
}

/** Pixels of a little picture's height, twice what the page shows. */
const HEIGHT = 144;

export class Pictures {
  private attached: Attached[] = [];
  private enabled = false;
  private readonly list = $("pictures");
  private readonly button = $<HTMLButtonElement>("add-picture");
  private readonly chooser = $<HTMLInputElement>("picture-file");

  /** `changed` hears of pictures that come and go; `fail` of files that are none. */
  constructor(
    private readonly changed: () => void,
    private readonly fail: (error: unknown) => void,
  ) {
    this.button.addEventListener("click", () => this.chooser.click());
    this.chooser.addEventListener("change", () => {
      const files = [...(this.chooser.files ?? [])];
      this.chooser.value = ""; // so that the same may be chosen again
      void this.add(files).then(() => $("input").focus());
    });
    addEventListener("paste", ({ clipboardData }) => {
      // A copied text may come with a picture of itself.
      if (clipboardData && !clipboardData.types.includes("text/plain")) void this.add([...clipboardData.files]);
    });
    for (const type of ["dragover", "dragleave", "drop"] as const) addEventListener(type, (event) => this.drag(event));
  }

  /** Whether the model takes pictures. */
  enable(enabled: boolean): void {
    this.enabled = enabled;
    this.button.hidden = !enabled;
    if (!enabled) this.take();
  }

  get all(): readonly Attached[] {
    return this.attached;
  }

  /** The pictures, which then are no longer here. */
  take(): Attached[] {
    const taken = this.attached;
    this.attached = [];
    this.draw();
    return taken;
  }

  /** Before those that are here. */
  put(back: readonly Attached[]): void {
    this.attached = [...back, ...this.attached];
    this.draw();
  }

  private async add(files: readonly File[]): Promise<void> {
    if (!this.enabled) return;
    for (const file of files) {
      try {
        this.attached.push({ file, view: await littleOf(file) });
        $("speed").textContent = `${file.name} was added`;
        this.draw();
      } catch {
        const why = new InvalidRequestError(
          file.name,
          "is no picture that this browser shows.",
          "Choose a picture such as a PNG, a JPEG or a WebP.",
        );
        this.fail(why);
      }
    }
  }

  private remove(picture: Attached): void {
    const at = this.attached.indexOf(picture);
    this.attached.splice(at, 1);
    this.draw();
    $("speed").textContent = `${picture.file.name} was removed`;
    const next = this.list.querySelectorAll("button")[Math.min(at, this.attached.length - 1)];
    (next ?? $("input")).focus();
  }

  private draw(): void {
    this.list.replaceChildren();
    this.list.hidden = this.attached.length === 0;
    for (const picture of this.attached) {
      const item = add(this.list, "li", "");
      item.append(picture.view);
      const remove = add(item, "button", "", "×");
      remove.type = "button";
      remove.setAttribute("aria-label", `Remove ${picture.file.name}`);
      remove.addEventListener("click", () => this.remove(picture));
    }
    this.changed();
  }

  /** Files may be dropped anywhere on the page. */
  private drag(event: DragEvent): void {
    if (!this.enabled || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const over = event.type === "dragover" || (event.type === "dragleave" && event.relatedTarget !== null);
    document.body.classList.toggle("dropping", over);
    if (event.type === "drop") void this.add([...event.dataTransfer.files]).then(() => $("input").focus());
  }
}

/** What a message with pictures says. */
export function contentOf(text: string, pictures: readonly Attached[]): NonNullable<ChatMessage["content"]> {
  if (pictures.length === 0) return text;
  const images = pictures.map(({ file }) => ({ type: "image" as const, image: file }));
  return text ? [...images, { type: "text", text }] : images;
}

/** Throws for a file that is no picture. */
async function littleOf(file: File): Promise<HTMLCanvasElement> {
  const bitmap = await createImageBitmap(file);
  const view = document.createElement("canvas");
  view.height = HEIGHT;
  view.width = Math.max(HEIGHT / 4, Math.min(HEIGHT * 3, Math.round((bitmap.width / bitmap.height) * HEIGHT)));
  view.getContext("2d")!.drawImage(bitmap, 0, 0, view.width, view.height);
  bitmap.close();
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", file.name);
  return view;
}
