/** A plain model of a file, for what one thread does to it. */

/** The file as letters: what every operation must amount to. Places are counted in half pages. */
export class FileModel {
  /** What the file holds, up to its end; "." are zeroes. */
  halves: string;
  /** What backs each page: "#" a block, "u" an unwritten one, "." nothing. */
  backing: string;
  /** What a store through a window has left in the last page beyond the file's end. */
  tail = ".";

  constructor(name: string, pages: string) {
    const contents = [...pages].map((page) => (page === "#" || page === "=" ? name + name : ".."));
    this.halves = contents.join("");
    this.backing = pages.replaceAll("=", "#");
  }

  get size(): number {
    return this.halves.length;
  }

  write(at: number, letters: string): void {
    this.resize(Math.max(this.size, at + letters.length));
    this.halves = put(this.halves, at, letters);
    this.#back(at, at + letters.length, () => "#");
  }

  /** What is allocated beyond the end goes, unless the file grows. */
  truncate(size: number): void {
    const last = Math.ceil(size / 2);
    if (size <= this.size && last < this.backing.length) {
      if (this.backing.slice(last).replaceAll(".", "") !== "") this.tail = ".";
      this.backing = this.backing.slice(0, last);
    }
    this.resize(size);
  }

  resize(size: number): void {
    if (size !== this.size) this.tail = ".";
    this.halves = this.halves.slice(0, size).padEnd(size, ".");
  }

  /** [at, end) reads as zeroes; what backs its whole pages becomes `left`. */
  clear(at: number, end: number, left: "." | "u"): void {
    const inFile = Math.max(0, Math.min(end, this.size) - at);
    this.halves = put(this.halves, at, ".".repeat(inFile));
    if (at <= this.size && this.size < end) this.tail = ".";
    const first = Math.ceil(at / 2);
    const last = Math.floor(end / 2);
    if (last > first) {
      this.#back(first * 2, last * 2, (backed) => (left === "." || backed === "." ? "." : left));
    }
  }

  /** A store to a whole page, through a window. */
  store(page: number, letter: string): void {
    const inFile = Math.min(2, this.size - page * 2);
    if (inFile <= 0) return;
    this.halves = put(this.halves, page * 2, letter.repeat(inFile));
    if (inFile < 2) this.tail = letter;
    this.#back(page * 2, page * 2 + 2, () => "#");
  }

  /** Holes get unwritten blocks. */
  allocate(at: number, end: number): void {
    this.#back(at, end, (backed) => (backed === "." ? "u" : backed));
  }

  collapse(at: number, end: number): void {
    this.halves = this.halves.slice(0, at) + this.halves.slice(end);
    this.backing = this.backing.slice(0, at / 2) + this.backing.slice(end / 2);
  }

  insert(at: number, count: number): void {
    this.halves = this.halves.slice(0, at) + ".".repeat(count) + this.halves.slice(at);
    const before = this.backing.padEnd(at / 2, ".").slice(0, at / 2);
    this.backing = before + ".".repeat(count / 2) + this.backing.slice(at / 2);
  }

  #back(at: number, end: number, change: (backed: string) => string): void {
    const first = Math.floor(at / 2);
    const last = Math.ceil(end / 2);
    this.backing = this.backing.padEnd(last, ".");
    const changed = [...this.backing.slice(first, last)].map(change).join("");
    this.backing = put(this.backing, first, changed);
  }

  /** What a page of the file shows, as `contentShown` tells it. */
  page(index: number): string {
    if (index * 2 >= this.size) return ".";
    const both = this.halves.slice(index * 2, index * 2 + 2).padEnd(2, this.tail);
    return both[0] === both[1] ? both[0]! : both;
  }
}

function put(text: string, at: number, letters: string): string {
  return text.slice(0, at) + letters + text.slice(at + letters.length);
}
