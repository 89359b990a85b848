/** What a folder may be called, and a URL would take for something else. */
export const FOLDER_NAMES = [
  "a b",
  "a%20b",
  "repo_feature%2Ffoo",
  "100%",
  "ha#sh",
  "what?",
  "what?mode=ro",
  "größe 漢",
];
