// This folder reads a bundle. It checks the manifest as hostile input, fetches files with resumption, verifies them by
// sha256, keeps them for the next visit, and streams weights to the GPU with only a few chunks in memory.
export { type DownloadOptions, download, type FetchLike } from "./download.js";
export { type FileEntry, type Manifest, parseManifest, type Tensor, type Tier } from "./manifest.js";
export { bytesOf, filesToLoad, foundOf } from "./needed.js";
export { Source, type SourceOptions, type Warning } from "./source.js";
export { deleteCached, listCached, Store } from "./store.js";
export { resolveBundleUrl } from "./url.js";
export { type ChunkRange, chunkRanges, streamWeights, type WeightSink } from "./weights.js";
