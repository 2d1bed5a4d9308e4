/**
 * The messages between the kernel and a filesystem served through /dev/fuse, version 7.31 and later.
 *
 * A request is a header, the operation's own structure, and names (ended by a zero byte) or bytes behind it. A reply is a
 * header with a negative error number, or 0 and the operation's answer. FORGET, BATCH_FORGET and INTERRUPT have none.
 *
 * Source: linux/fuse.h of the kernel's user-space interface.
 */
import { bytes, s32, struct, u16, u32, u64 } from "../base/struct.ts";

export const KERNEL_MAJOR = 7;
/** What we speak. A kernel that offers less than the first is refused. */
export const KERNEL_MINOR_MIN = 31;
export const KERNEL_MINOR = 40;

export const ROOT_NODE = 1;

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
} as const;

export type OpcodeName = keyof typeof Opcode;

/** What INIT negotiates; those of the second word are 2^32 times theirs in linux/fuse.h. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;
export const InitFlag2 = { DIRECT_IO_ALLOW_MMAP: 1 << 4 } as const;

export const OpenFlag = { DIRECT_IO: 1 << 0, KEEP_CACHE: 1 << 1, CACHE_DIR: 1 << 3 } as const;
export const AttributeFlag = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;
export const OPEN_KILL_SUIDGID = 1 << 0;
/** Of pages that the kernel has collected, or that programs have mapped. */
export const WRITE_CACHE = 1 << 0;
export const WRITE_KILL_SUIDGID = 1 << 2;
export const SETXATTR_KILL_SGID = 1 << 0;

const little = "little" as const;

export const InHeader = struct(
  "fuse_in_header",
  { endian: little, size: 40 },
  {
    length: u32(0),
    opcode: u32(4),
    uniqueLow: u32(8),
    uniqueHigh: u32(12),
    node: u64(16),
    uid: u32(24),
    gid: u32(28),
    pid: u32(32),
    extensions: u16(36),
    padding: bytes(38, 2),
  },
);
export const IN_HEADER_SIZE = InHeader.structure.size;

export const OutHeader = struct(
  "fuse_out_header",
  { endian: little, size: 16 },
  { length: u32(0), error: s32(4), uniqueLow: u32(8), uniqueHigh: u32(12) },
);
export const OUT_HEADER_SIZE = OutHeader.structure.size;

/** What the kernel is told unasked: such a message has no `unique`, and this number in place of an error. */
export const NOTIFY_INVAL_INODE = 2;
/** A negative offset: attributes only, no pages. */
export const NotifyInvalInodeOut = struct(
  "fuse_notify_inval_inode_out",
  { endian: little, size: 24 },
  { node: u64(0), offset: bytes(8, 8), length: bytes(16, 8) },
);

export const Attributes = struct(
  "fuse_attr",
  { endian: little, size: 88 },
  {
    ino: u64(0),
    size: u64(8),
    blocks: u64(16),
    atime: bytes(24, 8),
    mtime: bytes(32, 8),
    ctime: bytes(40, 8),
    atimeNanoseconds: u32(48),
    mtimeNanoseconds: u32(52),
    ctimeNanoseconds: u32(56),
    mode: u32(60),
    links: u32(64),
    uid: u32(68),
    gid: u32(72),
    device: u32(76),
    blockSize: u32(80),
    flags: u32(84),
  },
);
export const ATTRIBUTES_SIZE = Attributes.structure.size;

export const EntryOut = struct(
  "fuse_entry_out",
  { endian: little, size: 128 },
  {
    node: u64(0),
    generation: u64(8),
    entryValid: u64(16),
    attributesValid: u64(24),
    entryValidNanoseconds: u32(32),
    attributesValidNanoseconds: u32(36),
    attributes: bytes(40, 88),
  },
);
export const ENTRY_SIZE = EntryOut.structure.size;

export const AttributesOut = struct(
  "fuse_attr_out",
  { endian: little, size: 104 },
  { valid: u64(0), validNanoseconds: u32(8), padding: u32(12), attributes: bytes(16, 88) },
);

export const InitIn = struct(
  "fuse_init_in",
  { endian: little, size: 64 },
  {
    major: u32(0),
    minor: u32(4),
    maxReadahead: u32(8),
    flags: u32(12),
    flags2: u32(16),
    unused: bytes(20, 44),
  },
);

export const InitOut = struct(
  "fuse_init_out",
  { endian: little, size: 64 },
  {
    major: u32(0),
    minor: u32(4),
    maxReadahead: u32(8),
    flags: u32(12),
    maxBackground: u16(16),
    congestionThreshold: u16(18),
    maxWrite: u32(20),
    timeGranularity: u32(24),
    maxPages: u16(28),
    mapAlignment: u16(30),
    flags2: u32(32),
    unused: bytes(36, 28),
  },
);

export const ForgetIn = struct("fuse_forget_in", { endian: little, size: 8 }, { lookups: u64(0) });
export const BatchForgetIn = struct(
  "fuse_batch_forget_in",
  { endian: little, size: 8 },
  { count: u32(0), padding: u32(4) },
);
export const ForgetOne = struct(
  "fuse_forget_one",
  { endian: little, size: 16 },
  { node: u64(0), lookups: u64(8) },
);

export const InterruptIn = struct(
  "fuse_interrupt_in",
  { endian: little, size: 8 },
  { uniqueLow: u32(0), uniqueHigh: u32(4) },
);

export const SetAttributesIn = struct(
  "fuse_setattr_in",
  { endian: little, size: 88 },
  {
    valid: u32(0),
    padding: u32(4),
    handle: u64(8),
    size: u64(16),
    lockOwner: bytes(24, 8),
    atime: bytes(32, 8),
    mtime: bytes(40, 8),
    ctime: bytes(48, 8),
    atimeNanoseconds: u32(56),
    mtimeNanoseconds: u32(60),
    ctimeNanoseconds: u32(64),
    mode: u32(68),
    unused4: u32(72),
    uid: u32(76),
    gid: u32(80),
    unused5: u32(84),
  },
);

export const MknodIn = struct(
  "fuse_mknod_in",
  { endian: little, size: 16 },
  { mode: u32(0), device: u32(4), umask: u32(8), padding: u32(12) },
);
export const MkdirIn = struct(
  "fuse_mkdir_in",
  { endian: little, size: 8 },
  { mode: u32(0), umask: u32(4) },
);
export const RenameIn = struct(
  "fuse_rename_in",
  { endian: little, size: 8 },
  { directory: u64(0) },
);
export const Rename2In = struct(
  "fuse_rename2_in",
  { endian: little, size: 16 },
  { directory: u64(0), flags: u32(8), padding: u32(12) },
);
export const LinkIn = struct("fuse_link_in", { endian: little, size: 8 }, { node: u64(0) });
export const OpenIn = struct(
  "fuse_open_in",
  { endian: little, size: 8 },
  { flags: u32(0), openFlags: u32(4) },
);
export const CreateIn = struct(
  "fuse_create_in",
  { endian: little, size: 16 },
  { flags: u32(0), mode: u32(4), umask: u32(8), openFlags: u32(12) },
);
export const OpenOut = struct(
  "fuse_open_out",
  { endian: little, size: 16 },
  { handle: u64(0), openFlags: u32(8), padding: u32(12) },
);
export const OPEN_SIZE = OpenOut.structure.size;
export const ReleaseIn = struct(
  "fuse_release_in",
  { endian: little, size: 24 },
  { handle: u64(0), flags: u32(8), releaseFlags: u32(12), lockOwner: bytes(16, 8) },
);
/** Of READ, READDIR and READDIRPLUS. A directory's offset has 64 bits: see directories.ts. */
export const ReadIn = struct(
  "fuse_read_in",
  { endian: little, size: 40 },
  {
    handle: u64(0),
    offset: u64(8),
    size: u32(16),
    readFlags: u32(20),
    lockOwner: bytes(24, 8),
    flags: u32(32),
    padding: u32(36),
  },
);
export const WriteIn = struct(
  "fuse_write_in",
  { endian: little, size: 40 },
  {
    handle: u64(0),
    offset: u64(8),
    size: u32(16),
    writeFlags: u32(20),
    lockOwner: bytes(24, 8),
    flags: u32(32),
    padding: u32(36),
  },
);
export const WriteOut = struct(
  "fuse_write_out",
  { endian: little, size: 8 },
  { size: u32(0), padding: u32(4) },
);
export const IoctlIn = struct(
  "fuse_ioctl_in",
  { endian: little, size: 32 },
  {
    handle: u64(0),
    flags: u32(8),
    command: u32(12),
    argument: u64(16),
    inSize: u32(24),
    outSize: u32(28),
  },
);
export const IoctlOut = struct(
  "fuse_ioctl_out",
  { endian: little, size: 16 },
  { result: s32(0), flags: u32(4), inVectors: u32(8), outVectors: u32(12) },
);
/** What FS_IOC_FSGETXATTR and its counterpart carry. */
export const ExtendedFlags = struct(
  "fsxattr",
  { endian: little, size: 28 },
  {
    flags: u32(0),
    extentSize: u32(4),
    extents: u32(8),
    project: u32(12),
    copyExtentSize: u32(16),
    padding: bytes(20, 8),
  },
);
/** What FITRIM carries. */
export const TrimRange = struct(
  "fstrim_range",
  { endian: little, size: 24 },
  { start: u64(0), length: u64(8), minimum: u64(16) },
);
export const StatfsOut = struct(
  "fuse_statfs_out",
  { endian: little, size: 80 },
  {
    blocks: u64(0),
    blocksFree: u64(8),
    blocksAvailable: u64(16),
    files: u64(24),
    filesFree: u64(32),
    blockSize: u32(40),
    nameLength: u32(44),
    fragmentSize: u32(48),
    padding: u32(52),
    spare: bytes(56, 24),
  },
);
/** With SETXATTR_EXT. */
export const SetXattrIn = struct(
  "fuse_setxattr_in",
  { endian: little, size: 16 },
  { size: u32(0), flags: u32(4), extraFlags: u32(8), padding: u32(12) },
);
/** Of GETXATTR and LISTXATTR; their answer, where the size was asked for, has the same shape. */
export const GetXattr = struct(
  "fuse_getxattr_in",
  { endian: little, size: 8 },
  { size: u32(0), padding: u32(4) },
);
export const FallocateIn = struct(
  "fuse_fallocate_in",
  { endian: little, size: 32 },
  { handle: u64(0), offset: u64(8), length: u64(16), mode: u32(24), padding: u32(28) },
);
export const LseekIn = struct(
  "fuse_lseek_in",
  { endian: little, size: 24 },
  { handle: u64(0), offset: u64(8), whence: u32(16), padding: u32(20) },
);
export const LseekOut = struct("fuse_lseek_out", { endian: little, size: 8 }, { offset: u64(0) });
export const CopyFileRangeIn = struct(
  "fuse_copy_file_range_in",
  { endian: little, size: 56 },
  {
    handleIn: u64(0),
    offsetIn: u64(8),
    nodeOut: u64(16),
    handleOut: u64(24),
    offsetOut: u64(32),
    length: u64(40),
    flags: u64(48),
  },
);

/** Since 7.39: attributes with the time of birth. Each time is seconds, nanoseconds and four spare bytes. */
export const StatxOut = struct(
  "fuse_statx_out",
  { endian: little, size: 288 },
  {
    valid: u64(0),
    validNanoseconds: u32(8),
    flags: u32(12),
    spare: bytes(16, 16),
    mask: u32(32),
    blockSize: u32(36),
    attributes: u64(40),
    links: u32(48),
    uid: u32(52),
    gid: u32(56),
    mode: u16(60),
    spare0: bytes(62, 2),
    ino: u64(64),
    size: u64(72),
    blocks: u64(80),
    attributesMask: u64(88),
    atime: bytes(96, 16),
    btime: bytes(112, 16),
    ctime: bytes(128, 16),
    mtime: bytes(144, 16),
    deviceMajor: u32(160),
    deviceMinor: u32(164),
    onMajor: u32(168),
    onMinor: u32(172),
    spare2: bytes(176, 112),
  },
);
/** All that stat(2) tells, and the time of birth. Source: STATX_BASIC_STATS and STATX_BTIME of linux/stat.h. */
export const STATX_ALL = 0xfff;

/** Before a name in the answer to READDIR; records are padded to 8 bytes. */
export const DirectoryRecord = struct(
  "fuse_dirent",
  { endian: little, size: 24 },
  { ino: u64(0), offset: bytes(8, 8), nameLength: u32(16), type: u32(20) },
);
export const DIRECTORY_RECORD_SIZE = DirectoryRecord.structure.size;
