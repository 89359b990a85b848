/** `1,234,567`. By hand: `toLocaleString` loads the rules of all languages first, which each command would begin by waiting for. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(?:\d{3})+$)/g, ",");
}
