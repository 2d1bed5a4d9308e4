import { readFileSync } from "node:fs";
import { test } from "vitest";
import { findPlaces, KINDS } from "./places.ts";
test("x", () => {
  for (const b of [1024, 2048, 4096]) {
    const p = findPlaces(readFileSync(`/dev/shm/fill-${b}-true.img`));
    console.log(b, KINDS.map((k) => `${k} ${p.filter((x) => x.kind === k).length}`).join(", "));
  }
});
