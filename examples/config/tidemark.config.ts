// A config as a program: typed, with a row filter, a transform, and a function as target.
import { defineConfig } from "tidemark";

const cache = new Map<string, string | null>();

export default defineConfig({
  databases: {
    shop: "sqlite:./shop.db",
    reports: "sqlite:./reports.db",
    cache: ({ changes }) => {
      for (const { op, key, row } of changes) {
        if (op === "clear") cache.clear();
        else if (row === null) cache.delete(key?.id ?? "");
        else cache.set(row.id ?? "", row.name ?? null);
      }
    },
  },
  syncs: [
    {
      from: "shop",
      to: "reports",
      tables: [
        {
          table: "orders",
          filter: (row) => row.status !== "draft",
          transform: (row) => ({ ...row, note: null }),
        },
      ],
    },
    { from: "shop", to: "cache", tables: ["customers"] },
  ],
});
