/** Tests of the client: each file runs in Node and in a browser, against the real server behind the real gateway. */

import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

// Given by tests/browser/test_typescript.py, which starts both. The browser's page comes from another origin: CORS.
const gateway = process.env["SOLIDARITE_GATEWAY"] ?? "http://127.0.0.1:8080";
const tokens = JSON.parse(process.env["SOLIDARITE_TOKENS"] ?? "{}") as Record<string, string>;
const provided = (foyer: string) => ({ gateway, foyer, tokens });
const ORIGIN_PORT = Number(process.env["SOLIDARITE_TEST_PORT"] ?? 63315);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          include: ["test/*.test.ts"],
          environment: "node",
          testTimeout: 20_000,
          provide: provided("0000001"),
        },
      },
      {
        test: {
          name: "browser",
          testTimeout: 20_000,
          include: ["test/*.test.ts"],
          exclude: ["test/*.node.test.ts"],
          provide: provided("0000003"),
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            api: { host: "127.0.0.1", port: ORIGIN_PORT, strictPort: true },
            provider: playwright({
              launchOptions: {
                executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
                // As root there is no sandbox; nothing of the background services is needed.
                args: [
                  "--no-sandbox",
                  "--disable-gpu",
                  "--disable-background-networking",
                  "--disable-component-update",
                ],
              },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});

declare module "vitest" {
  export interface ProvidedContext {
    gateway: string;
    foyer: string;
    tokens: Record<string, string>;
  }
}
