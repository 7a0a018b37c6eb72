// The stream by which Gradio answers clicks, mended.  The server ends it with "close_stream" once nothing is left to be
// answered; a click made while that word is on its way would wait for its answer for ever, for Gradio takes the stream
// for open and then closes it.  Here the word is kept back while a click waits, and the stream is asked for again.
// And a stream that breaks off while nothing waits, since the server was started anew, is closed by that word: Gradio
// would take it for open for ever, and no later click would be answered.
(() => {
  const ask = window.fetch.bind(window);
  const waiting = new Set(); // ids of clicks that have no answer yet
  const early = new Set(); // ids of those whose answer came before their id
  let joining = 0;

  const join = async (...asked) => {
    joining += 1;
    try {
      const response = await ask(...asked);
      const id = response.ok && (await response.clone().json()).event_id;
      if (id && !early.delete(id)) waiting.add(id);
      return response;
    } finally {
      joining -= 1;
    }
  };

  const CLOSED = 'data: {"msg":"close_stream","event_id":null}';
  const isLast = (message) => {
    const { msg, event_id: id } = JSON.parse(message.slice(message.indexOf(":") + 1));
    if (msg === "process_completed" && !waiting.delete(id)) early.add(id);
    if (msg === "unexpected_error" && !id) waiting.clear(); // an answer to all: the server is going away
    return msg === "close_stream";
  };

  // The messages of the stream, each with the empty line that ends it, over as many answers as it takes.
  async function* messages(asked, response) {
    let closed;
    for (let body = response.body; body; ) {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      body = null;
      closed = false;
      for (let part = await reader.read(); !part.done && !body; part = await reader.read()) {
        const whole = (text + part.value).split("\n\n");
        text = whole.pop();
        for (const message of whole)
          if ((closed = isLast(message)) && (joining || waiting.size)) body = (await ask(asked)).body;
          else yield message + "\n\n";
      }
    }
    if (!closed) throw new TypeError("The stream broke off.");
  }

  // The same, and the last word where it is missing.  A click that waits learns of the error, and the page loads anew.
  async function* toTheEnd(asked, response) {
    try {
      yield* messages(asked, response);
    } catch (error) {
      if (joining || waiting.size) throw error;
      yield CLOSED + "\n\n";
    }
  }

  const stream = async (asked) => {
    const response = await ask(asked);
    if (!response.ok) return response;
    const told = toTheEnd(asked, response);
    const body = new ReadableStream({
      async pull(controller) {
        const { value, done } = await told.next();
        if (done) controller.close();
        else controller.enqueue(new TextEncoder().encode(value));
      },
      cancel: () => told.return(),
    });
    return new Response(body, { status: response.status, headers: response.headers });
  };

  window.fetch = (asked, ...options) => {
    const { pathname } = new URL(asked.url ?? asked, location.href);
    if (pathname.endsWith("/queue/join")) return join(asked, ...options);
    return pathname.endsWith("/queue/data") ? stream(asked) : ask(asked, ...options);
  };
})();
