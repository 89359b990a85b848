import { isTidemarkError } from "./errors.ts";

/**
 * What a server tells of itself; null where it cannot tell. A session that is lost says nothing of whom it was with, and
 * "unknown" would be believed for as long as the next session lasts: that is thrown. Throws TM-CONNECTION-LOST.
 */
export async function toldIdentity(answer: Promise<string | null>): Promise<string | null> {
  try {
    return await answer;
  } catch (error) {
    if (isTidemarkError(error, "TM-CONNECTION-LOST")) throw error;
    return null;
  }
}
