// Browsers start no worker from a page on disk, and the search of the documentation is one.
// There it runs in a hidden frame instead. The theme asks for `IFrameWorker` by this name.
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.hidden = true;
      // A document of its own, so that the frame does not replace it while scripts are loading.
      frame.contentDocument.open();
      frame.contentDocument.write("<!doctype html><body>");
      frame.contentDocument.close();
      const load = (source) =>
        new Promise((resolve, reject) => {
          const script = frame.contentDocument.createElement("script");
          Object.assign(script, { src: source, onload: resolve, onerror: reject });
          frame.contentDocument.body.append(script);
        });
      this.scope = frame.contentWindow;
      this.scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.scope.importScripts = async (...sources) => {
        for (const source of sources) await load(source);
      };
      this.ready = load(new URL(url, location));
    }

    postMessage(data) {
      this.ready.then(() =>
        this.scope.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }))
      );
    }
  };
}
