// This folder reads a catalog, the list of a publisher's models: what of it this device can run, and which bundle is
// the best for it. It is a file of its own, which is fetched when a page asks for a catalog.
export { type ChooseOptions, chooseModel, nearestModel } from "./choose.js";
export { type ListedModel, type ListOptions, listModels } from "./list.js";
