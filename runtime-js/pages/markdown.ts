// Turns Markdown into DOM nodes, as far as models write it. Model text only ever becomes text nodes, never HTML, and no
// link is made clickable.

export function render(source: string): DocumentFragment {
  const out = document.createDocumentFragment();
  const lines = source.replaceAll("\r\n", "\n").split("\n");
  let i = 0;
  while (i < lines.length) {
    const line = lines[i]!;
    const fence = /^\s*(```+|~~~+)/.exec(line);
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (fence) {
      const code: string[] = [];
      for (i++; i < lines.length && !lines[i]!.trim().startsWith(fence[1]!); i++) code.push(lines[i]!);
      i++;
      const pre = element("pre", out);
      element("code", pre).textContent = code.join("\n");
    } else if (heading) {
      inline(heading[2]!, element(heading[1]!.length < 3 ? "h3" : "h4", out));
      i++;
    } else if (ITEM.test(line)) {
      const ordered = /^\s*\d/.test(line);
      const list = element(ordered ? "ol" : "ul", out);
      if (ordered) list.setAttribute("start", /\d+/.exec(line)![0].slice(0, 9));
      for (; i < lines.length && ITEM.test(lines[i]!); i++) inline(lines[i]!.replace(ITEM, ""), element("li", list));
    } else if (/^\s*>/.test(line)) {
      const quote: string[] = [];
      for (; i < lines.length && /^\s*>/.test(lines[i]!); i++) quote.push(lines[i]!.replace(/^\s*> ?/, ""));
      inline(quote.join("\n"), element("blockquote", out));
    } else if (line.trim() === "") {
      i++;
    } else {
      const text = [line];
      for (i++; i < lines.length && !BLOCK.test(lines[i]!); i++) text.push(lines[i]!);
      inline(text.join("\n"), element("p", out));
    }
  }
  return out;
}

const ITEM = /^\s*(?:[-*+]|\d+[.)])\s+/;
const BLOCK = /^\s*$|^\s*(?:```|~~~|>|#{1,6}\s)|^\s*(?:[-*+]|\d+[.)])\s+/;
const SPAN = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^*\s][^*\n]*)\*|(\n)/g;

function inline(text: string, into: HTMLElement): void {
  let at = 0;
  for (const match of text.matchAll(SPAN)) {
    into.append(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [, code, strong, strong2, em] = match;
    if (code !== undefined) element("code", into).textContent = code;
    else if (strong !== undefined || strong2 !== undefined) element("strong", into).textContent = (strong ?? strong2)!;
    else if (em !== undefined) element("em", into).textContent = em;
    else element("br", into);
  }
  into.append(text.slice(at));
}

function element(tag: string, parent: Node): HTMLElement {
  const element = document.createElement(tag);
  parent.appendChild(element);
  return element;
}
