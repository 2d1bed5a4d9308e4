/** `holdfast/ram`: the ram filesystem. */
export { RamDriver } from "./driver.ts";
