/** The raw driver: a device as one file. */
export { DEVICE_NAME, RawDriver } from "./driver.ts";
