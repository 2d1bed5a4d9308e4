# Writes a file by libaio past the page cache while others read it through that: python3 stale-reads.py FILE SECONDS.
# Prints how often what it then reads itself is older than what it has written. Source of the numbers: asm/unistd_64.h, asm-generic/unistd.h.
import ctypes, mmap, os, platform, subprocess, sys, time
SETUP, GETEVENTS, SUBMIT = (206, 208, 209) if platform.machine() == "x86_64" else (0, 4, 2)
SIZE = 640 * 1024
libc = ctypes.CDLL(None, use_errno=True)
context = ctypes.c_ulong(0)
assert libc.syscall(SETUP, 1, ctypes.byref(context)) == 0
memory = mmap.mmap(-1, SIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
direct = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
cached = os.open(sys.argv[1], os.O_RDONLY)
read = ["sh", "-c", 'while :; do cat "$0" > /dev/null; done', sys.argv[1]]
readers = [subprocess.Popen(read) for _ in range(2)]
stale = 0
writes = 0
until = time.time() + float(sys.argv[2])
while time.time() < until:
    byte = bytes([writes % 255 + 1])
    memory[:] = byte * SIZE
    # struct iocb of linux/aio_abi.h: data, key, flags, opcode 1 (PWRITE), priority, file, buffer, bytes, offset.
    iocb = (ctypes.c_ulonglong * 8)(0, 0, 1 | direct << 32, address, SIZE, 0, 0, 0)
    pointer = ctypes.pointer(iocb)
    assert libc.syscall(SUBMIT, context, 1, ctypes.byref(pointer)) == 1
    events = (ctypes.c_longlong * 4)()
    assert libc.syscall(GETEVENTS, context, 1, 1, events, None) == 1
    assert events[2] == SIZE, events[2]
    stale += os.pread(cached, SIZE, 0) != byte * SIZE
    writes += 1
for reader in readers:
    reader.kill()
print("no" if stale == 0 else f"{stale} of {writes}", "stale reads")
