// Claims a device, says so, and holds it until its standard input ends.
import { openDevice } from "../../../dist/device/open.js";

const [path, mode] = process.argv.slice(2);
const device = openDevice(String(path), { readOnly: mode === "read-only" });
process.stdout.write("claimed\n");
process.stdin.resume().on("end", () => device.close());
