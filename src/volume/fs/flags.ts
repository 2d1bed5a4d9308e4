/** How a file is opened: Node's names for it, and the numbers behind them. */
import { constants } from "node:fs";
import { wrongType, wrongValue } from "../arguments.ts";
import type { OpenFlags } from "../names.ts";

const {
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
} = constants;

const READ = O_RDONLY;
const WRITE = O_WRONLY | O_CREAT | O_TRUNC;
const APPEND = O_WRONLY | O_CREAT | O_APPEND;
const READ_WRITE = O_RDWR | O_CREAT | O_TRUNC;
const READ_APPEND = O_RDWR | O_CREAT | O_APPEND;

const BY_NAME: Readonly<Record<string, number>> = {
  r: READ,
  rs: READ | O_SYNC,
  sr: READ | O_SYNC,
  "r+": O_RDWR,
  "rs+": O_RDWR | O_SYNC,
  "sr+": O_RDWR | O_SYNC,
  w: WRITE,
  wx: WRITE | O_EXCL,
  xw: WRITE | O_EXCL,
  "w+": READ_WRITE,
  "wx+": READ_WRITE | O_EXCL,
  "xw+": READ_WRITE | O_EXCL,
  a: APPEND,
  ax: APPEND | O_EXCL,
  xa: APPEND | O_EXCL,
  as: APPEND | O_SYNC,
  sa: APPEND | O_SYNC,
  "a+": READ_APPEND,
  "ax+": READ_APPEND | O_EXCL,
  "xa+": READ_APPEND | O_EXCL,
  "as+": READ_APPEND | O_SYNC,
  "sa+": READ_APPEND | O_SYNC,
};

export interface FsOpenFlags extends OpenFlags {
  /** Each write is on the medium before it returns. */
  readonly synchronous: boolean;
}

/** Throws: ERR_INVALID_ARG_VALUE. */
export function parseFlags(flags: unknown, otherwise: string): FsOpenFlags {
  const given = flags ?? otherwise;
  let bits: number | undefined;
  if (typeof given === "number") {
    if (!Number.isInteger(given)) throw wrongType("flags", "an integer", given);
    bits = given;
  } else if (typeof given === "string") bits = BY_NAME[given];
  if (bits === undefined) throw wrongValue("flags", "is invalid", flags);
  const access = bits & (O_RDONLY | O_WRONLY | O_RDWR);
  const has = (flag: number): boolean => (bits & flag) === flag;
  return {
    read: access !== O_WRONLY,
    write: access !== O_RDONLY,
    append: has(O_APPEND),
    create: has(O_CREAT),
    exclusive: has(O_CREAT | O_EXCL),
    truncate: has(O_TRUNC),
    direct: has(O_DIRECT),
    directory: has(O_DIRECTORY),
    noFollow: has(O_NOFOLLOW),
    synchronous: has(O_SYNC) || has(O_DSYNC),
  };
}
