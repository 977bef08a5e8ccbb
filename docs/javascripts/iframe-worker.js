/* Search in a folder. A page that was opened as a file may not start workers, so the search's worker runs in a hidden frame. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget { // the theme's worker looks for this name
    constructor(url) {
      super();
      const waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data })); // the worker answers
      this.postMessage = (data) => waiting.push(data);
      const script = frame.contentDocument.createElement("script");
      script.src = new URL(url, document.baseURI);
      script.addEventListener("load", () => {
        this.postMessage = (data) => inner.dispatchEvent(new MessageEvent("message", { data }));
        waiting.forEach(this.postMessage);
      });
      frame.contentDocument.body.append(script);
    }
  };
  window.Worker = window.IFrameWorker;
}
