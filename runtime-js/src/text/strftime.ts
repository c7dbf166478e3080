// Formats dates as strftime of Python's datetime.now() does on Linux. Names are English whatever the browser's language
// is: models have read English dates.

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const DAY = 86_400_000;

/** What a number is filled with, and to how many characters. */
type Field = readonly [value: number, width: number, fill: "0" | " "];

/** A date, and where it stands in its year. */
interface Day {
  readonly date: Date;
  readonly dayOfYear: number;
  readonly weekday: number;
  readonly hour: number;
  readonly iso: readonly [year: number, week: number];
}

const zero = (value: number, width = 2): Field => [value, width, "0"];
const COMPOSED: Readonly<Record<string, string>> = {
  c: "%a %b %e %H:%M:%S %Y",
  D: "%m/%d/%y",
  F: "%Y-%m-%d",
  h: "%b",
  r: "%I:%M:%S %p",
  R: "%H:%M",
  T: "%H:%M:%S",
  x: "%m/%d/%y",
  X: "%H:%M:%S",
};
const FIELDS: Readonly<Record<string, (day: Day) => string | Field>> = {
  a: ({ weekday }) => DAYS[weekday]!.slice(0, 3),
  A: ({ weekday }) => DAYS[weekday]!,
  b: ({ date }) => MONTHS[date.getMonth()]!.slice(0, 3),
  B: ({ date }) => MONTHS[date.getMonth()]!,
  C: ({ date }) => zero(Math.floor(date.getFullYear() / 100)),
  d: ({ date }) => zero(date.getDate()),
  e: ({ date }) => [date.getDate(), 2, " "],
  f: ({ date }) => zero(date.getMilliseconds() * 1000, 6),
  G: ({ iso }) => zero(iso[0], 1),
  g: ({ iso }) => zero(iso[0] % 100),
  H: ({ hour }) => zero(hour),
  I: ({ hour }) => zero(hour % 12 || 12),
  j: ({ dayOfYear }) => zero(dayOfYear, 3),
  k: ({ hour }) => [hour, 2, " "],
  l: ({ hour }) => [hour % 12 || 12, 2, " "],
  m: ({ date }) => zero(date.getMonth() + 1),
  M: ({ date }) => zero(date.getMinutes()),
  n: () => "\n",
  p: ({ hour }) => (hour < 12 ? "AM" : "PM"),
  P: ({ hour }) => (hour < 12 ? "am" : "pm"),
  s: ({ date }) => zero(Math.floor(date.getTime() / 1000), 1),
  S: ({ date }) => zero(date.getSeconds()),
  t: () => "\t",
  u: ({ weekday }) => zero(weekday || 7, 1),
  U: ({ dayOfYear, weekday }) => zero(Math.floor((dayOfYear + 6 - weekday) / 7)),
  V: ({ iso }) => zero(iso[1]),
  w: ({ weekday }) => zero(weekday, 1),
  W: ({ dayOfYear, weekday }) => zero(Math.floor((dayOfYear + 6 - ((weekday + 6) % 7)) / 7)),
  y: ({ date }) => zero(date.getFullYear() % 100),
  Y: ({ date }) => zero(date.getFullYear(), 1),
  z: () => "",
  Z: () => "",
  "%": () => "%",
};

export function strftime(date: Date, format: string): string {
  const [year, month, number] = [date.getFullYear(), date.getMonth(), date.getDate()];
  const day: Day = {
    date,
    dayOfYear: Math.round((Date.UTC(year, month, number) - Date.UTC(year, 0, 0)) / DAY),
    weekday: date.getDay(),
    hour: date.getHours(),
    iso: isoWeekOf(year, month, number),
  };
  return format.replace(/%([-_0^#]*)([\s\S])/g, (text, flags: string, code: string) => {
    const field = COMPOSED[code] === undefined ? FIELDS[code]?.(day) : strftime(date, COMPOSED[code]);
    if (field === undefined) return text;
    const written = typeof field === "string" ? field : padded(field, /[-_0]/.exec(flags)?.[0]);
    return flags.includes("^") ? written.toUpperCase() : flags.includes("#") ? swapped(written, code) : written;
  });
}

/** A number as wide as its field, unless a flag says otherwise. */
function padded([value, width, fill]: Field, flag: string | undefined): string {
  return flag === "-" ? String(value) : String(value).padStart(width, flag === "_" ? " " : (flag ?? fill));
}

/** ISO 8601's year and week: the week of the year's first Thursday is the first. */
function isoWeekOf(year: number, month: number, day: number): [number, number] {
  const date = new Date(Date.UTC(year, month, day));
  date.setUTCDate(day + 4 - (date.getUTCDay() || 7));
  return [date.getUTCFullYear(), Math.ceil(((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / DAY + 1) / 7)];
}

/** `%#p` is small; other names are large. */
function swapped(text: string, code: string): string {
  return code === "p" ? text.toLowerCase() : text.toUpperCase();
}
