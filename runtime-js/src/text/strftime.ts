// strftime as templates use it, in English whatever the browser's language: models have read English dates.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

export function strftime(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const hour = date.getHours();
  const yearDay = Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000);
  const fields: Record<string, () => string> = {
    a: () => DAYS[date.getDay()]!.slice(0, 3),
    A: () => DAYS[date.getDay()]!,
    b: () => MONTHS[date.getMonth()]!.slice(0, 3),
    B: () => MONTHS[date.getMonth()]!,
    d: () => two(date.getDate()),
    H: () => two(hour),
    I: () => two(hour % 12 || 12),
    j: () => String(yearDay).padStart(3, "0"),
    m: () => two(date.getMonth() + 1),
    M: () => two(date.getMinutes()),
    p: () => (hour < 12 ? "AM" : "PM"),
    S: () => two(date.getSeconds()),
    y: () => two(date.getFullYear() % 100),
    Y: () => String(date.getFullYear()),
    "%": () => "%",
  };
  return format.replace(/%(.)/gs, (text, field: string) => fields[field]?.() ?? text);
}
