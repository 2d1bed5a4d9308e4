/**
 * Where the arguments of commands lead: `image.img:/path` is a path in the volume on that image, anything else one of
 * the system's. In the shell it is the other way round: paths are the volume's, and `host:PATH` is the system's.
 */
import { realpathSync, statSync } from "node:fs";
import { HoldfastError } from "../base/errors.ts";
import { type Mounted, mountCoreSync } from "../volume/mount.ts";
import type { Session } from "./session.ts";
import { UsageError } from "./usage.ts";

export interface HostPlace {
  readonly kind: "host";
  readonly path: string;
  /** As it was given. */
  readonly shown: string;
}

export interface VolumePlace {
  readonly kind: "volume";
  readonly image: string;
  /** From the volume's root. */
  readonly path: string;
  readonly shown: string;
}

export type Place = HostPlace | VolumePlace;

/** What a path is that names no volume: one of the host's, or an image, whose root is meant. */
export type Plain = "host" | "image";

const HOST_MARK = "host:";

/** Resolves paths, and mounts each volume once. Closing it unmounts them. */
export class Places implements Disposable {
  readonly #session: Session | null;
  /** By the image's real path. */
  readonly #mounts = new Map<string, { readonly mounted: Mounted; readonly writable: boolean }>();

  constructor(session: Session | null) {
    this.#session = session;
  }

  get session(): Session | null {
    return this.#session;
  }

  resolve(text: string, plain: Plain): Place {
    if (this.#session !== null) return inSession(text, this.#session);
    const split = splitOf(text);
    if (split !== null) return { kind: "volume", ...split, shown: text };
    assertNoSlip(text);
    if (plain === "host") return { kind: "host", path: text, shown: text };
    return { kind: "volume", image: text, path: "/", shown: text };
  }

  /** Throws: UsageError for a path of the host's. */
  volume(text: string, plain: Plain = "host"): VolumePlace {
    const place = this.resolve(text, plain);
    if (place.kind === "volume") return place;
    throw new UsageError(
      this.#session === null
        ? `'${text}' names no volume; write IMAGE:/PATH, as in disk.img:/etc`
        : `'${text}' is a path of the host's; this needs one of the volume's`,
    );
  }

  /**
   * The volume of a place. For reading alone it is mounted read-only, and nothing of the image changes; so what is to be
   * written must be asked for first. Throws: what mounting throws; EROFS where a volume cannot be written.
   */
  mounted({ image }: VolumePlace, access: "read" | "write"): Mounted {
    if (this.#session !== null) return writableIf(access, this.#session.mounted, image);
    const key = realpathOf(image);
    const known = this.#mounts.get(key);
    if (known !== undefined && (known.writable || access === "read")) return known.mounted;
    if (known !== undefined) {
      known.mounted.volume.closeSync();
      this.#mounts.delete(key);
    }
    const mounted = mountCoreSync(image, { readOnly: access === "read" });
    this.#mounts.set(key, { mounted, writable: access === "write" });
    return writableIf(access, mounted, image);
  }

  /** Unmounts all; the volume of a shell stays. Throws: EIO, EUCLEAN of the first that met them. */
  [Symbol.dispose](): void {
    let failed: unknown = null;
    for (const { mounted } of this.#mounts.values()) {
      try {
        mounted.volume.closeSync();
      } catch (error) {
        failed ??= error;
      }
    }
    this.#mounts.clear();
    if (failed !== null) throw failed;
  }
}

function writableIf(access: "read" | "write", mounted: Mounted, image: string): Mounted {
  const reason = access === "write" ? mounted.volume.readOnlyReason : null;
  if (reason === null) return mounted;
  throw new HoldfastError("EROFS", `'${image}' can only be read: ${reason}`, { path: image });
}

function inSession(text: string, { image, directory }: Session): Place {
  if (text.startsWith(HOST_MARK)) {
    return { kind: "host", path: text.slice(HOST_MARK.length) || ".", shown: text };
  }
  const path = text.startsWith("/") ? text : `${directory === "/" ? "" : directory}/${text}`;
  return { kind: "volume", image, path, shown: text };
}

/**
 * The image and the path of IMAGE:/PATH or IMAGE:, or null. A colon may be part of a name: where there are several, the
 * first with an image or device before it counts, and something that is there by the whole name is no volume.
 */
export function splitOf(text: string): { readonly image: string; readonly path: string } | null {
  const splits = [...text.matchAll(/:(?=\/|$)/g)].map(({ index }) => index).filter((at) => at > 0);
  const first = splits.find((at) => isImage(text.slice(0, at)));
  if (first === undefined && statSync(text, { throwIfNoEntry: false }) !== undefined) return null;
  const at = first ?? splits[0];
  if (at === undefined) return null;
  return { image: text.slice(0, at), path: text.slice(at + 1) || "/" };
}

/** Throws: UsageError for "disk.img:etc", which would be a file of the host's of that name. */
function assertNoSlip(text: string): void {
  const colon = text.indexOf(":");
  const isThere = statSync(text, { throwIfNoEntry: false }) !== undefined;
  if (colon <= 0 || isThere || !isImage(text.slice(0, colon))) return;
  const [image, path] = [text.slice(0, colon), text.slice(colon + 1)];
  throw new UsageError(`'${text}' lacks a slash; write '${image}:/${path}'`);
}

function isImage(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true || stats?.isBlockDevice() === true;
}

function realpathOf(image: string): string {
  try {
    return realpathSync(image);
  } catch {
    return image; // mounting says what is wrong
  }
}
