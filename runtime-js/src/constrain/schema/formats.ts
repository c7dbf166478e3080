// Formats as regular expressions. Each matches nothing that the format forbids; some leave out rare texts that it has.

const YEAR = "\\d{4}";
const LEAP = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const DATE =
  `(?:${YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)` +
  `|02-(?:0[1-9]|1\\d|2[0-8]))|${LEAP}-02-29)`;
const HOUR = "(?:[01]\\d|2[0-3])";
/** Of leap seconds only those that are written in UTC. */
const TIME = `(?:${HOUR}:[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-]${HOUR}:[0-5]\\d)|23:59:60(?:\\.\\d+)?[Zz])`;
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `(?:${BYTE}\\.){3}${BYTE}`;
const H = "[\\da-fA-F]{1,4}";
const LAST = `(?:${H}:${H}|${IPV4})`;
const IPV6 = [
  `(?:${H}:){6}${LAST}`,
  `::(?:${H}:){5}${LAST}`,
  ...[4, 3, 2, 1].map((after) => `(?:(?:${H}:){0,${4 - after}}${H})?::(?:${H}:){${after}}${LAST}`),
  `(?:(?:${H}:){0,4}${H})?::${LAST}`,
  `(?:(?:${H}:){0,5}${H})?::${H}`,
  `(?:(?:${H}:){0,6}${H})?::`,
].join("|");
const ALNUM = "[a-zA-Z\\d]";
/** A label of a host name. The third and fourth are never both hyphens: those are kept for names in other scripts. */
const INNER = "[a-zA-Z\\d-]";
const label = (max: number) =>
  `${ALNUM}(?:${INNER}{0,2}${ALNUM}|${INNER}(?:${ALNUM}${INNER}|-${ALNUM})${INNER}{0,${max - 5}}${ALNUM})?`;
/** 253 characters at most: many labels, or long ones. */
const hostname = (dots: number) =>
  [
    [3, 63, 61],
    [7, 30, 30],
    [15, 14, 14],
  ]
    .map(([count, max, last]) => `(?:${label(max!)}\\.){${dots},${count}}${label(last!)}`)
    .join("|");
const ATEXT = "[\\w!#$%&'*+/=?^`{|}~-]";
const ESCAPED = "%[\\da-fA-F]{2}";
const UNRESERVED = "\\w.~\\-!$&'()*+,;=";
const PCHAR = `(?:[${UNRESERVED}:@]|${ESCAPED})`;
const HOST = `(?:\\[(?:${IPV6})\\]|(?:[${UNRESERVED}]|${ESCAPED})*)`;
const AUTHORITY = `(?:(?:[${UNRESERVED}:]|${ESCAPED})*@)?${HOST}(?::\\d*)?`;
/** Never empty: some validators refuse a scheme alone. */
const PATH = `(?://${AUTHORITY}(?:/${PCHAR}*)*|/(?:${PCHAR}+(?:/${PCHAR}*)*)?|${PCHAR}+(?:/${PCHAR}*)*)`;
const TIME_SPAN = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";
const DATE_SPAN = "(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)";

export const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}[Tt]${TIME}`],
  ["duration", `P(?:\\d+W|${DATE_SPAN}(?:${TIME_SPAN})?|${TIME_SPAN})`],
  ["uuid", "[\\da-fA-F]{8}(?:-[\\da-fA-F]{4}){3}-[\\da-fA-F]{12}"],
  ["ipv4", IPV4],
  ["ipv6", IPV6],
  ["hostname", hostname(0)],
  ["email", `${ATEXT}+(?:\\.${ATEXT}+)*@(?:${hostname(1)})`],
  ["uri", `[a-zA-Z][a-zA-Z\\d+.-]*:${PATH}(?:\\?(?:${PCHAR}|[/?])*)?(?:#(?:${PCHAR}|[/?])*)?`],
]);
