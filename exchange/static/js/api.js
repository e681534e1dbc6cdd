/* Calls to /api/v1 with the session: the envelope is opened here, and a refusal becomes an ApiError. */

export class ApiError extends Error {
  constructor({ code, message, data, status }) {
    super(message);
    this.code = code;
    this.data = data || {};
    this.status = status;
    this.fields = this.data.fields || {};
  }
}

function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

/** Returns {data, message, status}; throws ApiError for a refusal, or when the exchange cannot be reached. */
export async function call(method, path, body) {
  const headers = { "Accept-Language": document.documentElement.lang };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const { answer, status, ok } = await ask(path, { method, headers, body: sent, credentials: "same-origin" });
  if (!ok) throw new ApiError({ ...answer, status });
  return { data: answer.data, message: answer.message, status };
}

async function ask(path, options) {
  try {
    const response = await fetch(`/api/v1${path}`, options);
    return { answer: await response.json(), status: response.status, ok: response.ok };
  } catch {
    throw new ApiError({ code: -1, message: gettext("The exchange cannot be reached."), status: 0 });
  }
}

/** A document without envelope, such as the OpenAPI description. */
export async function readDocument(path) {
  const { answer, status, ok } = await ask(path, {});
  if (!ok) throw new ApiError({ ...answer, status });
  return answer;
}

export const read = async (path) => (await call("GET", path)).data;

/** Lists come as pages ({items}) or as plain arrays. */
export const items = (data) => (Array.isArray(data) ? data : data.items);
