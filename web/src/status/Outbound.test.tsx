import { render, screen, within } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import type { Status } from "../api/types";
import { en } from "../i18n/en";
import { Bucket, Forward, Queue } from "./Outbound";
import { Store } from "./StatusPage";

const now = 1_790_000_000_000;
const ns = (ms: number) => (BigInt(ms) * 1_000_000n).toString();

const none: Status = {
  version: "1",
  commit: "c",
  uptime: 1,
  now: ns(now),
  receivers: [],
  store: {},
  listeners: [],
};

afterEach(() => {
  document.body.replaceChildren();
});

/** The rows of a list as text: label, then value. */
function rows(list: Element): Record<string, string> {
  const text = (e: Element) => (e.textContent ?? "").trim().replace(/\s+/g, " ");
  return Object.fromEntries(
    [...list.querySelectorAll("dt")].map((dt) => [text(dt), text(dt.nextElementSibling as Element)]),
  );
}

test("without queue, bucket and copies there are no cards", () => {
  const { container } = render(
    <>
      <Queue status={none} />
      <Bucket status={none} />
      <Forward status={none} />
    </>,
  );
  expect(container.textContent).toBe("");
});

test("a writer's bucket says what is not there yet and what fails", () => {
  const bucket = {
    address: "s3://traces/prod",
    readOnly: false,
    segments: 40,
    bytes: 1e9,
    farSegments: 12,
    waitingSegments: 3,
    waitingBytes: 6e7,
    since: ns(now - 90_000),
    uploads: 43,
    failures: 2,
    lastError: "upload seg/1: no route to host",
    checkedAt: ns(now - 5000),
  };
  const { container, rerender } = render(<Bucket status={{ ...none, store: { bucket } }} />);
  expect(screen.getByRole("alert").textContent).toBe(`${en.bucket.failing}: upload seg/1: no route to host`);
  expect(rows(container)).toMatchObject({
    [en.bucket.address]: "s3://traces/prod",
    [en.bucket.far]: "12",
    [en.bucket.uploads]: "43",
    [en.bucket.failures]: "2",
  });
  expect(rows(container)[en.bucket.files]).toMatch(/^40 /);
  expect(rows(container)[en.bucket.waiting]).toMatch(/^3 /);
  expect(rows(container)[en.bucket.since]).toBe("90 s");
  const lost = "another writer took the bucket over";
  rerender(<Bucket status={{ ...none, store: { bucket: { ...bucket, lost } } }} />);
  expect(screen.getByRole("alert").textContent).toBe(`${en.bucket.lost}: ${lost}`);
});

test("a reader's bucket has nothing to upload", () => {
  const bucket = { address: "file:///b", readOnly: true, segments: 2, checkedAt: ns(now) };
  const { container } = render(<Bucket status={{ ...none, store: { bucket } }} />);
  expect(screen.getByText(en.bucket.helpReader)).toBeTruthy();
  expect(Object.keys(rows(container))).toEqual([
    en.bucket.address,
    en.bucket.files,
    en.bucket.failures,
    en.bucket.checked,
    en.bucket.cache,
    en.bucket.hits,
    en.bucket.fetches,
  ]);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("each backend of the copies has its own rows", () => {
  const forward = {
    bytes: 10,
    limitBytes: 1000,
    damaged: ["frame 8"],
    targets: [
      { name: "tempo", address: "grpc://tempo:4317", spans: 7, sentSpans: 70 },
      {
        name: "jaeger",
        address: "http://jaeger:4318",
        spans: 9,
        oldest: ns(now - 60_000),
        sentSpans: 5,
        failures: 4,
        lastError: "connection refused",
        refusedSpans: 3,
        lastRefusal: "too large",
        droppedSpans: 2,
        unreadableSpans: 1,
      },
    ],
  };
  const { container } = render(<Forward status={{ ...none, forward }} />);
  const card = within(container).getByRole("region", { name: en.forward.title });
  const [log, tempo, jaeger] = [...card.querySelectorAll("dl")].map(rows);
  expect(log?.[en.forward.damaged]).toBe("frame 8");
  expect(tempo).toEqual({
    [en.queue.waiting]: "7",
    [en.queue.oldest]: en.status.none,
    [en.queue.sent]: "70",
    [en.queue.failures]: "0",
  });
  expect(jaeger).toMatchObject({
    [en.queue.waiting]: "9",
    [en.forward.refused]: "3",
    [en.forward.lastRefusal]: "too large",
    [en.forward.dropped]: "2",
    [en.forward.unreadable]: "1",
  });
  expect(screen.getByRole("alert").textContent).toBe(`${en.forward.failing}: connection refused`);
});

test("the queue hides what did not happen", () => {
  const queue = { spans: 12, hiddenSpans: 4, bytes: 1, limitBytes: 2, sentSpans: 3, poisonFile: "poison-1" };
  const { container } = render(<Queue status={{ ...none, store: { queue } }} />);
  expect(rows(container)[en.queue.waiting]).toBe(`12 ${en.queue.hidden("4")}`);
  expect(rows(container)[en.queue.poisonFile]).toBe("poison-1");
  expect(Object.keys(rows(container))).not.toContain(en.queue.poison);
});

test("of servers that others write to, too, only what this process stored is counted", () => {
  const { container, rerender } = render(
    <Store status={{ ...none, store: { kind: "clickhouse", spans: 9, queue: {} } }} />,
  );
  expect(rows(container)).toMatchObject({ [en.status.ownSpans]: "9" });
  expect(rows(container)).not.toHaveProperty(en.status.traces);
  expect(rows(container)).not.toHaveProperty(en.status.evicted);
  rerender(<Store status={{ ...none, store: { kind: "local", spans: 9, traces: 2 } }} />);
  expect(rows(container)).toMatchObject({
    [en.status.spans]: "9",
    [en.status.traces]: "2",
    [en.status.evicted]: "0",
  });
});
