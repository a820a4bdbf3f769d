import type { Heatmap } from "../api/types";
import { instantMs } from "./time";

/** A rectangle of cells, both ends included. */
export interface Area {
  column: [number, number];
  row: [number, number];
}

export interface Point {
  column: number;
  row: number;
}

export const areaOf = (a: Point, b: Point): Area => ({
  column: [Math.min(a.column, b.column), Math.max(a.column, b.column)],
  row: [Math.min(a.row, b.row), Math.max(a.row, b.row)],
});

/** What the cells of an area hold together, and one trace of them: a failed one if there is one. */
export function sumOf(h: Heatmap, a: Area): { n: number; errors: number; example: string | undefined } {
  let n = 0;
  let errors = 0;
  let example: string | undefined;
  for (const c of h.cells) {
    if (c.column < a.column[0] || c.column > a.column[1] || c.row < a.row[0] || c.row > a.row[1]) continue;
    n += c.n;
    if (example === undefined || (c.errors && errors === 0)) example = c.example;
    errors += c.errors ?? 0;
  }
  return { n, errors, example };
}

/** The starts of an area in whole ms, outwards, so that no span of it is lost. */
export function timesOf(h: Heatmap, a: Area): { from: number; to: number } {
  const start = instantMs(h.start);
  const step = h.step / 1e6;
  return { from: Math.floor(start + a.column[0] * step), to: Math.ceil(start + (a.column[1] + 1) * step) };
}

/** The durations of an area in ns: [least, most). */
export function durationsOf(h: Heatmap, a: Area): { least: number; most: number } {
  return { least: h.bounds[a.row[0]] ?? 0, most: h.bounds[a.row[1] + 1] ?? 0 };
}

/** Whether an area leaves out columns or rows: a side that holds everything filters nothing. */
export function narrows(h: Heatmap, a: Area): { time: boolean; duration: boolean } {
  return {
    time: a.column[0] > 0 || a.column[1] < h.columns - 1,
    duration: a.row[0] > 0 || a.row[1] < h.bounds.length - 2,
  };
}

/** The plot inside of a canvas: pixels of a cell, and where row 0 ends. */
export interface Plot {
  left: number;
  bottom: number;
  width: number;
  height: number;
  columns: number;
  rows: number;
}

const leastRows = 6;

export function plotOf(h: Heatmap, width: number, height: number): Plot {
  const rows = Math.max(h.bounds.length - 1, leastRows);
  return {
    left: 58,
    bottom: height - 18,
    width: Math.max(60, width - 58 - 8),
    height: height - 18 - 6,
    columns: h.columns,
    rows,
  };
}

export function cellAt(p: Plot, x: number, y: number, rows: number): Point {
  const column = Math.floor(((x - p.left) / p.width) * p.columns);
  const row = Math.floor(((p.bottom - y) / p.height) * p.rows);
  return {
    column: Math.min(p.columns - 1, Math.max(0, column)),
    row: Math.min(Math.max(rows - 1, 0), Math.max(0, row)),
  };
}

export function rectOf(p: Plot, a: Area): { x: number; y: number; width: number; height: number } {
  const w = p.width / p.columns;
  const h = p.height / p.rows;
  return {
    x: p.left + a.column[0] * w,
    y: p.bottom - (a.row[1] + 1) * h,
    width: (a.column[1] - a.column[0] + 1) * w,
    height: (a.row[1] - a.row[0] + 1) * h,
  };
}
