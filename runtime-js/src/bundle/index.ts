// The bundle: its manifest, checked as hostile input, and its files, fetched with resumption, verified by
// sha256, kept in the Cache API, and streamed to the GPU without ever holding more than a few chunks.
export { parseManifest, type Manifest, type Tier, type Tensor, type FileEntry } from "./manifest.js";
export { download, type DownloadOptions, type FetchLike } from "./download.js";
export { Store, deleteCached } from "./store.js";
export { Source, type SourceOptions, type Warning } from "./source.js";
export { resolveBundleUrl } from "./url.js";
export { chunkRanges, streamWeights, type ChunkRange, type WeightSink } from "./weights.js";
