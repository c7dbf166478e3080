// The bundle: its manifest, checked as hostile input, and its files, fetched with resumption, verified by
// sha256, kept in the Cache API, and streamed to the GPU without ever holding more than a few chunks.

export { type DownloadOptions, download, type FetchLike } from "./download.js";
export { type FileEntry, type Manifest, parseManifest, type Tensor, type Tier } from "./manifest.js";
export { Source, type SourceOptions, type Warning } from "./source.js";
export { deleteCached, Store } from "./store.js";
export { resolveBundleUrl } from "./url.js";
export { type ChunkRange, chunkRanges, streamWeights, type WeightSink } from "./weights.js";
