/* What happens to every frame of audio, in C.

   Each function has its reference in Python, which says what it is for, and which is used where this was not compiled:
   `read_text` and `write_text` in server/wire.py, `text_frame` in server/frames.py, `energy_above` and `ulaw_level_dbfs` in
   audio/levels.py, `frame_lines` in storage/journal.py, `set_timer` in server/timer_file.py.
   tests/test_speedups.py holds each pair to the same results. Nothing here waits, keeps anything, or knows anything of a call. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#ifdef __linux__
#include <sys/timerfd.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* Python ignores SIGPIPE */
#endif

#define WHOLE_TEXT 0x81 /* FIN, opcode 1 (RFC 6455, section 5.2) */
#define MASKED 0x80
#define KEY_BYTES 4
#define READ_BYTES (16 * 1024) /* as in server/wire.py */
#define SHORT_LIMIT 126
#define MIDDLE_LIMIT 65536

static int
wrong_count(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", name, wanted, given);
    return 1;
}

/* A file's number; what is wrong with it is in PyErr_Occurred(). */
static int
number_of(PyObject *file)
{
    long number = PyLong_AsLong(file);

    if (number > INT_MAX || number < INT_MIN) {
        PyErr_SetString(PyExc_OverflowError, "no file has such a number");
        return -1;
    }
    return (int)number;
}

/* After a system call that failed: None, if it would have had to wait. */
static PyObject *
nothing_or_error(void)
{
    if (PyErr_Occurred()) { /* of a signal's handler */
        return NULL;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        Py_RETURN_NONE;
    }
    return PyErr_SetFromErrno(PyExc_OSError);
}

static int
not_bytes(const char *name, PyObject *given)
{
    if (PyBytes_Check(given)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() wants bytes, not %.80s", name, Py_TYPE(given)->tp_name);
    return 1;
}

/* --- WebSocket frames ------------------------------------------------------------------------------------------------ */

static void
apply_mask(unsigned char *to, const unsigned char *from, Py_ssize_t size, const unsigned char *key)
{
    uint64_t wide_key, wide;
    Py_ssize_t at = 0;

    memcpy(&wide_key, key, KEY_BYTES);
    memcpy((unsigned char *)&wide_key + KEY_BYTES, key, KEY_BYTES);
    for (; at + (Py_ssize_t)sizeof wide <= size; at += sizeof wide) {
        memcpy(&wide, from + at, sizeof wide);
        wide ^= wide_key;
        memcpy(to + at, &wide, sizeof wide);
    }
    for (; at < size; at++) {
        to[at] = from[at] ^ key[at % KEY_BYTES];
    }
}

/* The text of a frame that was read, in ASCII, or NULL without an exception: see whole_text in server/frames.py. */
static PyObject *
text_in(unsigned char *data, Py_ssize_t read, int masked, Py_ssize_t limit_bytes)
{
    Py_ssize_t head = masked ? 4 + KEY_BYTES : 4, size = read - head;
    unsigned char *payload = data + head;

    if (size < SHORT_LIMIT || size > limit_bytes || data[0] != WHOLE_TEXT ||
        data[1] != (masked ? MASKED | SHORT_LIMIT : SHORT_LIMIT) || (data[2] << 8 | data[3]) != size) {
        return NULL;
    }
    if (masked) {
        apply_mask(payload, payload, size, data + 4);
    }
    unsigned char bits = 0;
    for (Py_ssize_t at = 0; at < size; at++) {
        bits |= payload[at];
    }
    if (bits < 0x80) {
        PyObject *text = PyUnicode_New(size, 127);
        if (text != NULL) {
            memcpy(PyUnicode_1BYTE_DATA(text), payload, size);
        }
        return text;
    }
    if (masked) {
        apply_mask(payload, payload, size, data + 4);
    }
    return NULL;
}

/* read_text(fileno: int, masked: bool, limit_bytes: int) -> str | bytes | None

   The lock of the interpreter is kept: the call does not wait, and to get the lock back from another thread may take long. */
static PyObject *
read_text(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (wrong_count("read_text", count, 3)) {
        return NULL;
    }
    int fileno = number_of(args[0]), masked = PyErr_Occurred() ? -1 : PyObject_IsTrue(args[1]);
    Py_ssize_t limit_bytes = masked < 0 ? -1 : PyNumber_AsSsize_t(args[2], NULL), read;
    if (PyErr_Occurred()) {
        return NULL;
    }
    unsigned char data[READ_BYTES];
    do {
        read = recv(fileno, data, sizeof data, MSG_DONTWAIT);
    } while (read < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (read < 0) {
        return nothing_or_error();
    }
    PyObject *text = text_in(data, read, masked, limit_bytes);
    if (text == NULL && !PyErr_Occurred()) {
        return PyBytes_FromStringAndSize((const char *)data, read);
    }
    return text;
}

#define HEAD_BYTES (2 + 8 + KEY_BYTES)

/* Write the head of a text's frame, and return how long it is. */
static Py_ssize_t
write_head(unsigned char *head, Py_ssize_t size, const unsigned char *key)
{
    Py_ssize_t length_bytes = size < SHORT_LIMIT ? 0 : size < MIDDLE_LIMIT ? 2 : 8;
    unsigned char *to = head;

    *to++ = WHOLE_TEXT;
    *to++ = (key ? MASKED : 0) | (length_bytes == 0 ? (int)size : length_bytes == 2 ? SHORT_LIMIT : SHORT_LIMIT + 1);
    for (Py_ssize_t shift = 8 * (length_bytes - 1); shift >= 0; shift -= 8) {
        *to++ = (unsigned char)((uint64_t)size >> shift);
    }
    if (key) {
        memcpy(to, key, KEY_BYTES);
        to += KEY_BYTES;
    }
    return to - head;
}

/* Look at a text and a key that were given, the key as NULL for none; -1 with an exception, or the text's size. */
static Py_ssize_t
text_and_key(PyObject *text, PyObject *given_key, const unsigned char **payload, const unsigned char **key)
{
    if (!PyUnicode_Check(text) || !PyBytes_Check(given_key)) {
        PyErr_Format(PyExc_TypeError, "a str and bytes are wanted, not %.80s and %.80s", Py_TYPE(text)->tp_name,
                     Py_TYPE(given_key)->tp_name);
        return -1;
    }
    if (PyBytes_GET_SIZE(given_key) != 0 && PyBytes_GET_SIZE(given_key) != KEY_BYTES) {
        PyErr_Format(PyExc_ValueError, "a key of %zd bytes", PyBytes_GET_SIZE(given_key));
        return -1;
    }
    Py_ssize_t size = -1;
    *payload = (const unsigned char *)PyUnicode_AsUTF8AndSize(text, &size);
    *key = PyBytes_GET_SIZE(given_key) ? (const unsigned char *)PyBytes_AS_STRING(given_key) : NULL;
    return *payload == NULL ? -1 : size;
}

static void
write_payload(unsigned char *to, const unsigned char *payload, Py_ssize_t size, const unsigned char *key)
{
    if (key) {
        apply_mask(to, payload, size, key);
    } else {
        memcpy(to, payload, size);
    }
}

/* text_frame(text: str, key: bytes) -> bytes */
static PyObject *
text_frame(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (wrong_count("text_frame", count, 2)) {
        return NULL;
    }
    const unsigned char *payload, *key;
    Py_ssize_t size = text_and_key(args[0], args[1], &payload, &key);
    if (size < 0) {
        return NULL;
    }
    unsigned char head[HEAD_BYTES];
    Py_ssize_t head_bytes = write_head(head, size, key);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, head_bytes + size);
    if (frame != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(frame);
        memcpy(to, head, head_bytes);
        write_payload(to + head_bytes, payload, size, key);
    }
    return frame;
}

#define SMALL_FRAME_BYTES 4096

/* write_text(fileno: int, text: str, key: bytes) -> bytes | None; the interpreter's lock is kept as in read_text. */
static PyObject *
write_text(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (wrong_count("write_text", count, 3)) {
        return NULL;
    }
    int fileno = number_of(args[0]);
    const unsigned char *payload, *key;
    Py_ssize_t size = PyErr_Occurred() ? -1 : text_and_key(args[1], args[2], &payload, &key);
    if (size < 0) {
        return NULL;
    }
    unsigned char small[SMALL_FRAME_BYTES], *frame = small;
    if (size + HEAD_BYTES > SMALL_FRAME_BYTES) {
        frame = PyMem_Malloc(size + HEAD_BYTES);
        if (frame == NULL) {
            return PyErr_NoMemory();
        }
    }
    Py_ssize_t all = write_head(frame, size, key), sent;
    write_payload(frame + all, payload, size, key);
    all += size;
    do {
        sent = send(fileno, frame, all, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    PyObject *rest = sent < 0 ? nothing_or_error() : PyBytes_FromStringAndSize((const char *)frame + sent, all - sent);
    if (frame != small) {
        PyMem_Free(frame);
    }
    return rest;
}

/* --- levels ---------------------------------------------------------------------------------------------------------- */

#define FRAME_SAMPLES 160

/* Energy of a frame less that of its slow part; -1 for what is no wave, with an error.

   All sums are of whole numbers below 2 ** 53, so that the reference, which adds them as floats, has the same. */
static int
energy_of(const int16_t *samples, PyObject *slow_waves, double *energy)
{
    int16_t slow[FRAME_SAMPLES];
    int64_t squares = 0;
    if (!PyTuple_Check(slow_waves)) {
        PyErr_Format(PyExc_TypeError, "the slow waves are no tuple");
        return -1;
    }
    for (int at = 0; at < FRAME_SAMPLES; at++) {
        squares += (int32_t)samples[at] * samples[at];
    }
    /* As audioop.rms of 32-bit samples: a whole number. */
    double rms = floor(sqrt((double)squares * 4294967296.0 / FRAME_SAMPLES)) / 65536;
    *energy = rms * rms * FRAME_SAMPLES;
    for (Py_ssize_t place = 0; place < PyTuple_GET_SIZE(slow_waves); place++) {
        PyObject *wave = PyTuple_GET_ITEM(slow_waves, place);
        if (!PyTuple_Check(wave) || PyTuple_GET_SIZE(wave) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(wave, 0)) ||
            PyBytes_GET_SIZE(PyTuple_GET_ITEM(wave, 0)) != (Py_ssize_t)sizeof slow) {
            PyErr_Format(PyExc_ValueError, "wave %zd is not %d samples with their energy", place, FRAME_SAMPLES);
            return -1;
        }
        double wave_energy = PyFloat_AsDouble(PyTuple_GET_ITEM(wave, 1));
        if (wave_energy == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        int64_t product = 0;
        memcpy(slow, PyBytes_AS_STRING(PyTuple_GET_ITEM(wave, 0)), sizeof slow);
        for (int at = 0; at < FRAME_SAMPLES; at++) {
            product += (int32_t)samples[at] * slow[at];
        }
        double share = (double)product / wave_energy;
        *energy -= share * share * wave_energy;
    }
    return 0;
}

/* What is no frame, of so many bytes, sets an error. */
static int
no_frame(const char *name, PyObject *frame, Py_ssize_t bytes)
{
    if (not_bytes(name, frame)) {
        return 1;
    }
    if (PyBytes_GET_SIZE(frame) != bytes) {
        PyErr_Format(PyExc_ValueError, "%s() wants %d samples, got %zd bytes", name, FRAME_SAMPLES, PyBytes_GET_SIZE(frame));
        return 1;
    }
    return 0;
}

/* energy_above(pcm16: bytes, slow_waves: tuple[tuple[bytes, float], ...]) -> float */
static PyObject *
energy_above(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    int16_t samples[FRAME_SAMPLES];
    double energy;
    if (wrong_count("energy_above", count, 2) || no_frame("energy_above", args[0], sizeof samples)) {
        return NULL;
    }
    memcpy(samples, PyBytes_AS_STRING(args[0]), sizeof samples);
    return energy_of(samples, args[1], &energy) ? NULL : PyFloat_FromDouble(energy);
}

static int16_t sample_of_ulaw[256];

static void
fill_sample_of_ulaw(void) /* ITU-T G.711, table 2 */
{
    for (int code = 0; code < 256; code++) {
        int bits = ~code, magnitude = ((((bits & 0x0F) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
        sample_of_ulaw[code] = (int16_t)(bits & 0x80 ? -magnitude : magnitude);
    }
}

/* As Python's round(value, 1), of a number that has 14 digits at most before the comma; NULL with an error. */
static PyObject *
to_a_tenth(double value)
{
    double tenths = value * 10;
    if (fabs(tenths - floor(tenths) - 0.5) > 0.01) { /* nearer, the rounding of the product could decide */
        return PyFloat_FromDouble(rint(tenths) / 10);
    }
    char *text = PyOS_double_to_string(value, 'f', 1, 0, NULL);
    if (text == NULL) {
        return NULL;
    }
    double rounded = PyOS_string_to_double(text, NULL, NULL);
    PyMem_Free(text);
    return PyErr_Occurred() ? NULL : PyFloat_FromDouble(rounded);
}

#define FULL_SCALE 32768.0

/* ulaw_level_dbfs(slow_waves: tuple[tuple[bytes, float], ...], ulaw: bytes) -> float */
static PyObject *
ulaw_level_dbfs(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    int16_t samples[FRAME_SAMPLES];
    double energy;
    if (wrong_count("ulaw_level_dbfs", count, 2) || no_frame("ulaw_level_dbfs", args[1], FRAME_SAMPLES)) {
        return NULL;
    }
    const unsigned char *ulaw = (const unsigned char *)PyBytes_AS_STRING(args[1]);
    for (int at = 0; at < FRAME_SAMPLES; at++) {
        samples[at] = sample_of_ulaw[ulaw[at]];
    }
    if (energy_of(samples, args[0], &energy)) {
        return NULL;
    }
    return to_a_tenth(10.0 * log10((energy > 0.0 ? energy : 0.0) / (FRAME_SAMPLES * FULL_SCALE * FULL_SCALE) + 1e-10));
}

/* --- the journal ----------------------------------------------------------------------------------------------------- */

static uint32_t crc32_of_byte[256];

static void
fill_crc32_of_byte(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) {
            rest = rest & 1 ? 0xEDB88320u ^ (rest >> 1) : rest >> 1;
        }
        crc32_of_byte[byte] = rest;
    }
}

static uint32_t
crc32(const unsigned char *data, Py_ssize_t size)
{
    uint32_t rest = 0xFFFFFFFFu;
    while (size-- > 0) {
        rest = crc32_of_byte[(rest ^ *data++) & 0xFF] ^ (rest >> 8);
    }
    return ~rest;
}

/* These write to a line, and return where it goes on. Nothing of the C library, nor of Python, is used for what is usual: of
   what is not in the processor's caches, less is fetched. */
static char *
put_text(char *line, const char *text)
{
    size_t size = strlen(text);
    memcpy(line, text, size);
    return line + size;
}

static char *
put_whole(char *line, uint64_t number)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *line++ = digits[--count];
    }
    return line;
}

#define FLOAT_CHARACTERS 32 /* a float's repr has 24 at most */
#define FEWER_THAN_16_DIGITS 9e14
#define NO_EXPONENT_FROM 1e-4

/* A float as repr() writes it, and quickly where it is a whole number of `1 / unit`. NULL with an error.

   Of decimal numbers of up to 15 digits no two are the same float: so one that is this float is the shortest. */
static char *
put_float(char *line, PyObject *number, uint64_t unit)
{
    double value = PyFloat_AsDouble(number), size = fabs(value);
    if (value == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    uint64_t units = size >= NO_EXPONENT_FROM && size * unit < FEWER_THAN_16_DIGITS ? (uint64_t)(size * unit + 0.5) : 0;
    if (units > 0 && (double)units / unit == size) {
        if (value < 0) {
            *line++ = '-';
        }
        line = put_whole(line, units / unit);
        *line++ = '.';
        uint64_t rest = units % unit, place = unit / 10;
        do {
            *line++ = (char)('0' + rest / place);
            rest %= place;
            place /= 10;
        } while (rest > 0);
        return line;
    }
    char *repr = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (repr != NULL) {
        line = put_text(line, repr);
        PyMem_Free(repr);
    }
    return repr == NULL ? NULL : line;
}

#define LINES_CHARACTERS 512

/* frame_lines(now: float, audio: bytes, level_dbfs: float | None, session: int) -> str */
static PyObject *
frame_lines(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (wrong_count("frame_lines", count, 4) || not_bytes("frame_lines", args[1])) {
        return NULL;
    }
    char now[FLOAT_CHARACTERS] = "", lines[LINES_CHARACTERS], *line = lines;
    Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    unsigned long long session = PyLong_AsUnsignedLongLong(args[3]);
    char *end = PyErr_Occurred() ? NULL : put_float(now, args[0], 1000000);
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    line = put_text(put_text(put_text(line, "{\"t\":"), now), ",\"event\":\"CallerAudio\",\"audio\":{\"bytes\":");
    line = put_text(put_whole(line, size), ",\"crc32\":");
    line = put_text(put_whole(line, crc32((const unsigned char *)PyBytes_AS_STRING(args[1]), size)), "},\"level_dbfs\":");
    line = args[2] == Py_None ? put_text(line, "null") : put_float(line, args[2], 10);
    if (line == NULL) {
        return NULL;
    }
    line = put_text(put_text(put_text(line, "}\n{\"t\":"), now), ",\"command\":\"AppendAudio\",\"session\":");
    line = put_text(put_whole(put_text(put_whole(line, session), ",\"audio\":{\"bytes\":"), size), "}}");
    return PyUnicode_FromStringAndSize(lines, line - lines);
}

/* --- the poller's timer ---------------------------------------------------------------------------------------------- */

#ifdef __linux__

#define NANOSECONDS 1000000000LL

/* set_timer(fileno: int, after_ns: int) -> None: have a timerfd go off once, so much later. Raises OSError. */
static PyObject *
set_timer(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (wrong_count("set_timer", count, 2)) {
        return NULL;
    }
    int fileno = number_of(args[0]);
    long long after_ns = PyErr_Occurred() ? -1 : PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    struct itimerspec setting = {.it_value = {.tv_sec = after_ns / NANOSECONDS, .tv_nsec = after_ns % NANOSECONDS}};
    if (timerfd_settime(fileno, 0, &setting, NULL) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

#endif

/* --- the module ------------------------------------------------------------------------------------------------------ */

static PyMethodDef functions[] = {
    {"read_text", (PyCFunction)(void (*)(void))read_text, METH_FASTCALL, NULL},
    {"write_text", (PyCFunction)(void (*)(void))write_text, METH_FASTCALL, NULL},
    {"text_frame", (PyCFunction)(void (*)(void))text_frame, METH_FASTCALL, NULL},
    {"energy_above", (PyCFunction)(void (*)(void))energy_above, METH_FASTCALL, NULL},
    {"ulaw_level_dbfs", (PyCFunction)(void (*)(void))ulaw_level_dbfs, METH_FASTCALL, NULL},
    {"frame_lines", (PyCFunction)(void (*)(void))frame_lines, METH_FASTCALL, NULL},
#ifdef __linux__
    {"set_timer", (PyCFunction)(void (*)(void))set_timer, METH_FASTCALL, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_speedups", .m_doc = "What happens to every frame of audio, in C.", .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    fill_sample_of_ulaw();
    fill_crc32_of_byte();
    return PyModuleDef_Init(&module);
}
