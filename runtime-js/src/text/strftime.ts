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

export function strftime(date: Date, format: string): string {
  const [year, month, day, weekday, hour] = [
    date.getFullYear(),
    date.getMonth(),
    date.getDate(),
    date.getDay(),
    date.getHours(),
  ];
  const dayOfYear = Math.round((Date.UTC(year, month, day) - Date.UTC(year, 0, 0)) / DAY);
  const [isoYear, isoWeek] = isoWeekOf(year, month, day);
  const zero = (value: number, width = 2): Field => [value, width, "0"];
  const composed: Readonly<Record<string, string>> = {
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
  const fields: Readonly<Record<string, () => string | Field>> = {
    a: () => DAYS[weekday]!.slice(0, 3),
    A: () => DAYS[weekday]!,
    b: () => MONTHS[month]!.slice(0, 3),
    B: () => MONTHS[month]!,
    C: () => zero(Math.floor(year / 100)),
    d: () => zero(day),
    e: () => [day, 2, " "],
    f: () => zero(date.getMilliseconds() * 1000, 6),
    G: () => zero(isoYear, 1),
    g: () => zero(isoYear % 100),
    H: () => zero(hour),
    I: () => zero(hour % 12 || 12),
    j: () => zero(dayOfYear, 3),
    k: () => [hour, 2, " "],
    l: () => [hour % 12 || 12, 2, " "],
    m: () => zero(month + 1),
    M: () => zero(date.getMinutes()),
    n: () => "\n",
    p: () => (hour < 12 ? "AM" : "PM"),
    P: () => (hour < 12 ? "am" : "pm"),
    s: () => zero(Math.floor(date.getTime() / 1000), 1),
    S: () => zero(date.getSeconds()),
    t: () => "\t",
    u: () => zero(weekday || 7, 1),
    U: () => zero(Math.floor((dayOfYear + 6 - weekday) / 7)),
    V: () => zero(isoWeek),
    w: () => zero(weekday, 1),
    W: () => zero(Math.floor((dayOfYear + 6 - ((weekday + 6) % 7)) / 7)),
    y: () => zero(year % 100),
    Y: () => zero(year, 1),
    z: () => "",
    Z: () => "",
    "%": () => "%",
  };
  return format.replace(/%([-_0^#]*)([\s\S])/g, (text, flags: string, code: string) => {
    const field = composed[code] === undefined ? fields[code]?.() : strftime(date, composed[code]);
    if (field === undefined) return text;
    const fill = /[-_0]/.exec(flags)?.[0];
    const written =
      typeof field === "string"
        ? field
        : fill === "-"
          ? String(field[0])
          : String(field[0]).padStart(field[1], fill === "_" ? " " : (fill ?? field[2]));
    return flags.includes("^") ? written.toUpperCase() : flags.includes("#") ? swapped(written, code) : written;
  });
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
