// Pages that are opened from a disk may not start workers, so there the search runs in a hidden frame. Material for MkDocs looks for
// the name `IFrameWorker`, and would otherwise fetch such a script from the network (docs/decisions/0042).
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    const inside = frame.contentWindow;
    inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    inside.importScripts = async (...urls) => {
      for (const address of urls) await load(inside.document, address);
    };
    this.inside = inside;
    this.ready = load(inside.document, url);
  }

  postMessage(data) {
    this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
  }

  terminate() {
    this.inside.frameElement.remove();
  }
}

function load(page, address) {
  return new Promise((done, fail) => {
    const script = page.createElement("script");
    Object.assign(script, { src: address, onload: done, onerror: fail });
    page.body.append(script);
  });
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
