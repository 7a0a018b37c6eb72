// The stream by which Gradio answers clicks, mended.  The server ends it with "close_stream" once nothing is left to be
// answered; a click made while that word is on its way would wait for its answer for ever, for Gradio takes the stream
// for open and then closes it.  Here the word is kept back while a click waits, and the stream is asked for again.
// And a stream that breaks off while nothing waits, since the server was started anew, is closed by that word: Gradio
// would take it for open for ever, and no later click would be answered.
// A list that is open when fewer entries come is shut for them: Gradio would draw the new entries by the places of the
// old ones, fail at the first that is not there, and never draw that list again.
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

  // The lists to keep shut while a message is taken in: those that are shut, and one whose entries it takes away.
  const keptShut = (message) => {
    if (!message.includes('"choices"')) return [];
    const { output } = JSON.parse(message.slice(message.indexOf(":") + 1));
    const fewest = Math.min(...(output?.data ?? []).flatMap((given) => given?.choices?.length ?? []));
    const outgrown = (option) => Math.max(+option.dataset.index + 1, option.getAttribute("aria-setsize")) > fewest;
    return [...document.querySelectorAll("input[role=combobox]")].filter((list) => {
      const drawn = document.getElementById(list.getAttribute("aria-controls"))?.querySelectorAll("[role=option]");
      return list.getAttribute("aria-expanded") !== "true" || [...(drawn ?? [])].some(outgrown);
    });
  };

  const shut = (lists, are) => lists.forEach((list) => (list.inert = are));
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  const frame = () => Promise.race([new Promise(requestAnimationFrame), new Promise((late) => setTimeout(late, 500))]);

  async function* withListsShut(told) {
    for await (const message of told) {
      const lists = keptShut(message);
      if (lists.includes(document.activeElement)) document.activeElement.blur();
      shut(lists, true);
      if (lists.length) await turn(); // Svelte has closed them by then
      yield message;
      if (lists.length) frame().then(frame).then(turn).then(() => shut(lists, false)); // and drawn the new entries
    }
  }

  const stream = async (asked) => {
    const response = await ask(asked);
    if (!response.ok) return response;
    const told = withListsShut(toTheEnd(asked, response));
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
