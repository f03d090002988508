import { createRoot } from "react-dom/client";

import { App } from "./App.js";

const place = document.getElementById("app");
if (place) createRoot(place).render(<App />);
