// The measured flows as a Restate service (its TypeScript SDK). STEPS is the address of the step server.
import http from "node:http";
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

// The SDK uses what Node has from version 22 on.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
};

const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
const retries = {
  initialRetryInterval: { seconds: 1 },
  retryIntervalFactor: 1.0,
  maxRetryInterval: { seconds: 1 },
};

function call(key, path) {
  const body = JSON.stringify({ key });
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "idempotency-key": key,
  };
  return new Promise((resolve, reject) => {
    const request = http.request(process.env.STEPS + path, { method: "POST", agent, headers }, (response) => {
      let text = "";
      response.on("data", (part) => { text += part; });
      response.on("end", () => {
        if (response.statusCode >= 400) reject(new Error(String(response.statusCode)));
        else resolve(JSON.parse(text));
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

const bench = restate.service({
  name: "Bench",
  handlers: {
    W3: async (ctx, flow) => {
      let found;
      for (const step of ["a", "b", "c"]) {
        found = await ctx.run(step, () => call(`${flow}:${step}`, "/step"), retries);
      }
      return found.ok;
    },
    R1: async (ctx, flow) => (await ctx.run("a", () => call(`${flow}:a`, "/retry"), retries)).ok,
  },
});

http2
  .createServer(restate.createEndpointHandler({ services: [bench] }))
  .listen(Number(process.env.PORT), "127.0.0.1");
