// Finds and adds elements of the page.

export const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

export function add<K extends keyof HTMLElementTagNameMap>(
  parent: HTMLElement,
  tag: K,
  className: string,
  text = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

const main = document.querySelector("main")!;
export const atEnd = (): boolean => main.scrollHeight - main.scrollTop - main.clientHeight < 80;
export const toEnd = (): void => {
  main.scrollTop = main.scrollHeight;
};
/** Calls `tell` with whether the page's end is seen, whenever it is scrolled. */
export function onScroll(tell: (atEnd: boolean) => void): void {
  main.addEventListener("scroll", () => tell(atEnd()), { passive: true });
}
