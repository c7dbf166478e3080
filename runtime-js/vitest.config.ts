import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { mlcweb: new URL("src/index.ts", import.meta.url).pathname } },
  test: { include: ["test/**/*.test.ts"], testTimeout: 30_000 },
});
