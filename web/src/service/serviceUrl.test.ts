// @vitest-environment node
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDoctor, parseDoctor } from "../model/doctorUrl";
import { formatService, parseService, serviceOfPath, servicePath } from "../model/serviceUrl";

const text = fc.string({ unit: "binary" }).map((s) => s.toWellFormed());
const range = fc.constantFrom("5m", "1h", "7d").map((last) => ({ kind: "last" as const, last }));

test("a service's address gives namespace and name back, whatever they are and wherever it is mounted", () => {
  fc.assert(
    fc.property(text, text, range, fc.constantFrom("", "/a/b"), (namespace, service, r, base) => {
      const path = base + servicePath({ kind: "service", namespace, service }, r);
      const url = new URL(path, "http://spanloom.example");
      // Names that are nothing but dots are parts of a path of their own kind to every browser.
      fc.pre(!/^\.{1,2}$/.test(namespace) && !/^\.{1,2}$/.test(service));
      expect(serviceOfPath(url.pathname)).toEqual([namespace, service]);
      expect(parseService(url.search.slice(1)).range).toEqual(r);
    }),
  );
});

test("what cannot be decoded is a name as it is", () => {
  expect(serviceOfPath("/service/-/%zz")).toEqual(["", "%zz"]);
});

test("views come back", () => {
  fc.assert(
    fc.property(range, text, text, text, (r, a, b, c) => {
      const doctor = { range: r, workload: a, finding: b, find: c, rest: [] };
      expect(parseDoctor(formatDoctor(doctor))).toEqual(doctor);
      const service = { range: r, kind: a || "service", rest: [] };
      expect(parseService(formatService(service))).toEqual(service);
    }),
  );
});
