/** The reference page: built into the server's package, so that a newcomer needs no Node.js. */

import { defineConfig } from "vite";

const gateway = process.env["SOLIDARITE_GATEWAY"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  build: {
    outDir: "../../server/solidarite_server/page",
    emptyOutDir: true,
    target: "es2023",
    modulePreload: false,
    rolldownOptions: {
      input: ["index.html", "accessibilite.html"],
      output: { entryFileNames: "page.js", assetFileNames: "page[extname]" },
    },
  },
  server: {
    // `npm run dev` beside `solidarite demo --web`.
    proxy: { "/solidarite.v1": gateway, "/exemples.json": gateway },
  },
});
