// Starts the page. No module, so that it also runs where modules do not: opened as a file, or from a host that serves scripts with a
// wrong type. Then it reads the scripts as data, and makes modules of them.

(() => {
  const SCRIPTS = "{{scripts}}";
  const WORDS = {
    en: {
      title: 'This does not work here',
      file: 'Opened as a file, a browser does not let the page read its model. Serve the folder: run "python -m http.server" in it and open http://localhost:8000, or export with --single-file.',
      missing: 'The folder on the host is incomplete: {detail} is not there; put the whole exported folder online again.',
      failed: 'The page cannot start in this browser ({detail}); use a current Chrome, Edge, Firefox or Safari.',
    },
    th: {
      title: 'ใช้ที่นี่ไม่ได้',
      file: 'เมื่อเปิดเป็นไฟล์ เบราว์เซอร์ไม่ให้หน้านี้อ่านโมเดล ให้เปิดผ่านเซิร์ฟเวอร์: สั่ง "python -m http.server" ในโฟลเดอร์นี้แล้วเปิด http://localhost:8000 หรือส่งออกใหม่ด้วย --single-file',
      missing: 'โฟลเดอร์บนโฮสต์ไม่ครบ: ไม่พบ {detail} ให้นำโฟลเดอร์ที่ส่งออกทั้งโฟลเดอร์ขึ้นไปใหม่',
      failed: 'หน้านี้เริ่มทำงานในเบราว์เซอร์นี้ไม่ได้ ({detail}) ให้ใช้ Chrome, Edge, Firefox หรือ Safari รุ่นปัจจุบัน',
    },
  };
  document.getElementById('stuck').remove();

  function fail(key, detail) {
    const words = WORDS[(navigator.language || 'en').slice(0, 2) === 'th' ? 'th' : 'en'];
    document.getElementById('progress').hidden = true;
    document.getElementById('failure-title').textContent = words.title;
    document.getElementById('failure-text').textContent = words[key].replace('{detail}', detail);
    document.getElementById('failure').hidden = false;
  }

  function inlineFiles() {
    const files = new Map();
    for (const script of document.querySelectorAll('script[data-file]')) {
      files.set(script.dataset.file, Uint8Array.from(atob(script.textContent), (char) => char.charCodeAt(0)));
      script.remove();
    }
    return files;
  }

  // Return the address of a script that is made of the text of a module and of those that it imports. It stands alone, as it also
  // runs in the worker: modules of a page that was opened as a file are not those of its worker.
  function assemble(texts, first) {
    const IMPORT = /^((?:import|export)\b[^'"]*?\bfrom\s*|import\s*)(['"])(\.{1,2}\/[\w./-]+)\2/gm;
    const addresses = new Map();
    const addressOf = (name) => {
      if (!addresses.has(name)) {
        const text = name === 'runtime/ort.js' ? texts[name] : texts[name].replace(IMPORT, (all, before, quote, path) => (
          `${before}${quote}${addressOf(new URL(path, new URL(name, 'http://site/')).pathname.slice(1))}${quote}`));
        addresses.set(name, URL.createObjectURL(new Blob([text], { type: 'text/javascript' })));
      }
      return addresses.get(name);
    };
    return addressOf(first);
  }

  // The worker: what arrives before its modules are there waits for them.
  function workerOf(texts) {
    const wait = 'const early = []; self.onmessage = (event) => early.push(event);';
    const go = 'import(assemble(texts, "worker.js")).then(() => early.forEach((event) => self.onmessage(event)), (error) => setTimeout(() => { throw error; }));';
    const text = `${wait}\nconst texts = ${JSON.stringify(texts)};\n${assemble}\n${go}`;
    return URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
  }

  async function fetched(name) {
    const response = await fetch(new URL(name, document.baseURI));
    if (!response.ok) throw Object.assign(new Error(name), { missing: name });
    return response.text();
  }

  async function startFrom(texts, find) {
    const worker = workerOf(texts);
    const app = await import(assemble(texts, 'app.js'));
    return app.start((name) => (name === 'worker.js' ? worker : find(name)), SCRIPTS);
  }

  async function start() {
    const inline = inlineFiles();
    const here = (name) => new URL(name, document.baseURI).href;
    if (inline.size) {
      const find = (name) => inline.has(name) && new Blob([inline.get(name)]); // its worker could not fetch an address
      const scripts = [...inline].filter(([name]) => name.endsWith('.js'));
      return startFrom(Object.fromEntries(scripts.map(([name, bytes]) => [name, new TextDecoder().decode(bytes)])), find);
    }
    if (location.protocol === 'file:') return fail('file');
    let app;
    try {
      app = await import(here('app.js'));
    } catch (error) {
      const texts = await Promise.all(SCRIPTS.map(fetched));
      return startFrom(Object.fromEntries(SCRIPTS.map((name, place) => [name, texts[place]])), here);
    }
    return app.start(here, SCRIPTS);
  }

  start().catch((error) => (error.missing ? fail('missing', error.missing) : fail('failed', String(error?.message ?? error).slice(0, 200))));
})();
