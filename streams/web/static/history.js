// The history: a new outage appears in its place.

import { follow, refresh } from "./page.js";

follow(refresh);
