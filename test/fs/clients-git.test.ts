// isomorphic-git with its repository on a volume: it clones from git's own HTTP server, commits, merges, checks out and
// pushes. Then git itself looks at the repository, on the kernel's mount of the image.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as git from "isomorphic-git";
import * as http from "isomorphic-git/http/node";
import { describe, expect } from "vitest";
import { loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, ext4 } from "../volume/volumes.ts";

const author = { name: "A. Tester", email: "tester@example.org" };
const asAuthor = ["-c", `user.name=${author.name}`, "-c", `user.email=${author.email}`];

function gitIn(directory: string, ...args: string[]): string {
  return runOk("git", ["-c", "safe.directory=*", "-C", directory, ...asAuthor, ...args]);
}

/** A bare repository of the host's, with a history. */
function makeOrigin(directory: string): string {
  const work = `${directory}/work`;
  mkdirSync(`${work}/deep/er`, { recursive: true });
  runOk("git", ["init", "-q", "-b", "main", work]);
  for (let at = 0; at < 40; at++) writeFileSync(`${work}/deep/f${at}`, `file ${at}\n`.repeat(at));
  writeFileSync(
    `${work}/deep/er/binary`,
    Buffer.from(Array.from({ length: 70_000 }, (_, at) => at * at)),
  );
  writeFileSync(`${work}/run.sh`, "#!/bin/sh\necho run\n");
  chmodSync(`${work}/run.sh`, 0o755);
  symlinkSync("deep/f1", `${work}/link`);
  gitIn(work, "add", "-A");
  gitIn(work, "commit", "-qm", "first");
  for (let at = 0; at < 5; at++) {
    writeFileSync(`${work}/deep/f${at}`, `changed in ${at}\n`);
    gitIn(work, "commit", "-qam", `change ${at}`);
  }
  gitIn(work, "checkout", "-qb", "side", "HEAD~2");
  writeFileSync(`${work}/side`, "on the side\n");
  gitIn(work, "add", "-A");
  gitIn(work, "commit", "-qm", "aside");
  gitIn(work, "checkout", "-q", "main");
  runOk("git", ["clone", "-q", "--bare", work, `${directory}/origin.git`]);
  gitIn(`${directory}/origin.git`, "config", "http.receivepack", "true");
  return `${directory}/origin.git`;
}

/** git-http-backend(1) as a CGI program. */
function serve(root: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url!, "http://localhost");
  const backend = spawn("git", ["http-backend"], {
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  request.pipe(backend.stdin);
  const parts: Buffer[] = [];
  backend.stdout.on("data", (part: Buffer) => parts.push(part));
  backend.stdout.on("end", () => {
    const all = Buffer.concat(parts);
    const end = all.indexOf("\r\n\r\n");
    const headers = all.subarray(0, end).toString("latin1").split("\r\n");
    for (const header of headers) {
      const [name, value] = header.split(": ") as [string, string];
      if (name === "Status") response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.end(all.subarray(end + 4));
  });
}

describe.each([ext4, blockPointerKinds[0] ?? ext4])("$name", (kind) => {
  skipUnless("git", "loop mounts")(
    "isomorphic-git clones, commits, merges, checks out and pushes; git agrees with all of it",
    async () => {
      using directory = temporaryDirectory();
      using place = temporaryDirectory();
      const origin = makeOrigin(directory.path);
      const server = createServer((request, response) => serve(directory.path, request, response));
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/origin.git`;
      using made = kind.make(64 * 1024 * 1024);
      const { fs } = made.volume;
      const repository = { fs, dir: "/repository" };

      await git.clone({ ...repository, http, url });
      const matrix = await git.statusMatrix(repository);
      expect(matrix.length).toBeGreaterThan(40);
      expect(
        matrix.filter(([, head, work, stage]) => head !== 1 || work !== 1 || stage !== 1),
      ).toEqual([]);
      expect(fs.readlinkSync("/repository/link")).toBe("deep/f1");
      expect(fs.statSync("/repository/run.sh").mode & 0o777).toBe(0o755);

      fs.writeFileSync("/repository/new", "made here\n");
      fs.rmSync("/repository/deep/f7");
      await git.add({ ...repository, filepath: "new" });
      await git.remove({ ...repository, filepath: "deep/f7" });
      await git.commit({ ...repository, message: "here", author });
      await git.merge({ ...repository, ours: "main", theirs: "remotes/origin/side", author });
      await git.checkout({ ...repository, ref: "main", force: true });
      expect(fs.readFileSync("/repository/side", "utf8")).toBe("on the side\n");
      const pushed = await git.push({ ...repository, http, url, ref: "main" });
      expect(pushed.ok).toBe(true);
      await git.checkout({ ...repository, ref: "side", remote: "origin" });
      expect(fs.existsSync("/repository/new")).toBe(false);
      await git.checkout({ ...repository, ref: "main" });
      server.close();
      expect(made.closeAndCheck()).toBe("");

      using mounted = loopMount(made.image!, place.path);
      const theirs = `${mounted.directory}/repository`;
      expect(gitIn(theirs, "status", "--porcelain")).toBe("");
      gitIn(theirs, "fsck", "--full", "--strict");
      const log = ["log", "--format=%H %s", "main"];
      expect(gitIn(theirs, ...log)).toBe(gitIn(origin, ...log));
      expect(gitIn(theirs, ...log)).toContain(" here\n");
      expect(gitIn(theirs, "ls-files")).toContain("side\n");
      gitIn(theirs, "gc", "-q");
      mounted.unmount();
    },
  );
});
