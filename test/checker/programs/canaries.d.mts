import type { Scenario } from "../../../src/checker/scenario.ts";

export const lostUpdate: Scenario;
export const unspeakable: Scenario;
export const tornPair: Scenario;
export const oppositeLocks: Scenario;
export const wakeTooEarly: Scenario;
export const bellBeforeWait: Scenario;
export const undoing: Scenario;
export const crowdedLostUpdate: Scenario;
export const forgivenLostUpdate: Scenario;
export const sideBySide: Scenario;
export const threeTurns: Scenario;
export const sound: Scenario;
export const busyLostUpdate: Scenario;
