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
  let response;
  let envelope;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
    envelope = await response.json();
  } catch {
    throw new ApiError({ code: -1, message: gettext("The exchange cannot be reached."), status: 0 });
  }
  if (!response.ok) throw new ApiError({ ...envelope, status: response.status });
  return { data: envelope.data, message: envelope.message, status: response.status };
}

export const read = async (path) => (await call("GET", path)).data;

/** Lists come as pages ({items}) or as plain arrays. */
export const items = (data) => (Array.isArray(data) ? data : data.items);
