// Figures as SVG, drawn without a browser.
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { Comparison, Single } from "../results.ts";

const COMMON = {
  background: "white",
  padding: 10,
  config: { font: "sans-serif", axis: { labelLimit: 300 }, view: { stroke: null } },
} as const;

/** Ratios with their spread, on the grey of what two equal things differed by meanwhile. */
export function ratioChart(comparisons: readonly Comparison[]): Promise<string> {
  const values = comparisons.map(({ figure, baselineName, ratio, noise }) => ({
    row: `${figure}, ${baselineName}`,
    rival: baselineName,
    ...ratio,
    quiet: Math.min(noise.min, 1 / noise.max),
    loud: Math.max(noise.max, 1 / noise.min),
  }));
  const direction = comparisons[0]?.better === "lower" ? "less" : "more";
  const y = { field: "row", type: "nominal", sort: null, title: null } as const;
  const x = {
    type: "quantitative",
    scale: { type: "log", nice: false, padding: 24 },
    axis: { format: "~g", tickCount: 6 },
    title: `Tidemark / other (${direction} than 1: Tidemark is better); grey: A/A`,
  } as const;
  const color = { field: "rival", type: "nominal", legend: null } as const;
  return draw({
    ...COMMON,
    width: 460,
    height: { step: 22 },
    data: { values },
    layer: [
      {
        mark: { type: "bar", color: "#dddddd", height: 16 },
        encoding: { y, x: { ...x, field: "quiet" }, x2: { field: "loud" } },
      },
      {
        mark: { type: "rule", color: "#888888", strokeDash: [4, 3] },
        encoding: { x: { ...x, datum: 1 } },
      },
      {
        mark: { type: "rule", strokeWidth: 2 },
        encoding: { y, x: { ...x, field: "min" }, x2: { field: "max" }, color },
      },
      {
        mark: { type: "point", filled: true, size: 70, opacity: 1 },
        encoding: { y, x: { ...x, field: "median" }, color },
      },
    ],
  });
}

/** Each point against the first of its axis. */
export function growthChart(singles: readonly Single[]): Promise<string> {
  const values = growthPoints(singles).map(({ single, kind, axis, at, first }) => ({
    ...{ kind, axis, at: at.toLocaleString("en") },
    median: single.value.median / first,
    min: single.value.min / first,
    max: single.value.max / first,
  }));
  const x = {
    field: "at",
    type: "ordinal",
    sort: null,
    title: null,
    axis: { labelAngle: 0 },
  } as const;
  const y = {
    type: "quantitative",
    scale: { type: "log" },
    axis: { format: "~g", tickCount: 5 },
    title: "against the first point",
  } as const;
  const color = { field: "kind", type: "nominal", title: null } as const;
  return draw({
    ...COMMON,
    data: { values },
    facet: { field: "axis", type: "nominal", sort: null, title: null },
    columns: 2,
    resolve: { scale: { x: "independent" } },
    spec: {
      width: 230,
      height: 150,
      layer: [
        { mark: "rule", encoding: { x, y: { ...y, field: "min" }, y2: { field: "max" }, color } },
        {
          mark: { type: "line", point: { filled: true, size: 50 } },
          encoding: { x, y: { ...y, field: "median" }, color },
        },
      ],
    },
  });
}

export interface GrowthPoint<S extends Single> {
  readonly single: S;
  readonly kind: string;
  readonly axis: string;
  readonly at: number;
  /** The median at the first point of the axis. */
  readonly first: number;
}

export function growthPoints<S extends Single>(singles: readonly S[]): GrowthPoint<S>[] {
  const firsts = new Map<string, number>();
  return singles.flatMap((single) => {
    if (single.at === null) return [];
    const { axis, value: at } = single.at;
    const kind = single.figure.split(",")[0] as string;
    const key = `${axis} ${kind}`;
    const first = firsts.get(key) ?? single.value.median;
    firsts.set(key, first);
    return [{ single, kind, axis, at, first }];
  });
}

async function draw(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}
