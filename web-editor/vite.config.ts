import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The gateway serves what is built here; `npm run dev` asks the gateway on port 1880 for /api.
export default defineConfig({
  plugins: [react()],
  // @rjsf/core names its Ajv validator in a helper for tests; ours is the one that must be used.
  resolve: { alias: { "@rjsf/validator-ajv8": "/src/forms/validator.ts" } },
  html: { cspNonce: "NONCE-OF-THIS-PAGE" },
  build: { outDir: "../flowcore/gateway/editor", emptyOutDir: true, chunkSizeWarningLimit: 1500, sourcemap: false },
  server: { proxy: { "/api": { target: "http://127.0.0.1:1880", ws: true } } },
});
