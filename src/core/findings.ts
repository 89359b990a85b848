import type { Finding } from "./database.ts";

export function ok(check: string, message: string): Finding {
  return { check, severity: "ok", message };
}

export function warning(check: string, message: string, fix: string): Finding {
  return { check, severity: "warning", message, fix };
}

export function failure(check: string, message: string, fix?: string): Finding {
  return { check, severity: "error", message, ...(fix === undefined ? {} : { fix }) };
}
