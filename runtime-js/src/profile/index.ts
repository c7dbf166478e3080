// This folder shows where a step's time goes: each kernel's time beside what this device can copy and compute, and each
// launch in order.
export {
  type EntryProfile,
  type KernelProfile,
  type ProfileOptions,
  type ProfileReport,
  profileModel,
  type TimelineLaunch,
} from "./profile.js";
