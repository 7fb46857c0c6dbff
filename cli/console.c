/* The person's console: see console.h. One loop waits for keys, guests' output and the time to ask the agents again. */
#include "console.h"
#include "agent_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define REFRESH_MS    2000
#define READ_BYTES    4096
#define KEY_OVERVIEW  "\033[24~" /* F12 */
#define ESCAPE	      '\033'

static volatile sig_atomic_t size_changed, asked_to_end;

static void on_signal(int number)
{
	if (number == SIGWINCH)
		size_changed = 1;
	else
		asked_to_end = 1;
}

static struct console_guest *find(struct console *console, const char *name, bool is_personal)
{
	for (int i = 0; i < console->guest_count; i++)
		if (console->guests[i].is_personal == is_personal && strcmp(console->guests[i].name, name) == 0)
			return &console->guests[i];
	return NULL;
}

static void disconnect(struct console_guest *guest)
{
	if (guest->file >= 0)
		close(guest->file);
	guest->file = -1;
	guest->typed_bytes = 0;
}

/** Connects to a running guest's console; the monitor then sends what it kept, so the screen starts anew. */
static void connect_guest(const struct console *console, struct console_guest *guest)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int file;

	if (guest->file >= 0 || guest->is_taken || strcmp(guest->state, "running") != 0 ||
	    strlen(guest->path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, guest->path, strlen(guest->path));
	file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (file < 0)
		return;
	if (connect(file, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		close(file);
		return;
	}
	vt_free(&guest->screen);
	if (!vt_init(&guest->screen, console->rows - 1, console->columns)) {
		close(file);
		return;
	}
	guest->file = file;
}

static void take_row(struct console *console, const json_t *row, bool is_personal)
{
	const char *name = json_string_value(json_object_get(row, "name"));
	const char *state = json_string_value(json_object_get(row, "state"));
	json_int_t total = json_integer_value(json_object_get(row, "total_bytes"));
	struct console_guest *guest;

	if (!name || !state || strlen(name) >= CONSOLE_NAME_MAX)
		return;
	guest = find(console, name, is_personal);
	if (!guest) {
		if (console->guest_count == CONSOLE_GUESTS_MAX)
			return;
		guest = &console->guests[console->guest_count];
		memset(guest, 0, sizeof(*guest));
		guest->file = -1;
		if (!vt_init(&guest->screen, console->rows - 1, console->columns))
			return;
		console->guest_count++;
		memcpy(guest->name, name, strlen(name) + 1);
		guest->is_personal = is_personal;
		snprintf(guest->path, sizeof(guest->path), "%s.guests/%s/console",
			 is_personal ? console->personal_socket : console->company_socket, name);
	}
	snprintf(guest->state, sizeof(guest->state), "%s", state);
	guest->release = json_integer_value(json_object_get(row, "release"));
	guest->last_backup = json_integer_value(json_object_get(row, "last_backup"));
	guest->arrived_percent =
		total > 0 ? (int)(json_integer_value(json_object_get(row, "arriving_bytes")) * 100 / total) : -1;
}

static json_t *refresh_one(struct console *console, const char *socket, bool is_personal)
{
	char error[256];
	json_t *state = console_ask(socket, json_pack("{s:s}", "call", "status"), error, sizeof(error)), *rows, *row;
	size_t index;

	if (!state)
		return NULL;
	rows = console_ask(socket, json_pack("{s:s}", "call", "list"), error, sizeof(error));
	json_array_foreach(rows, index, row) take_row(console, row, is_personal);
	json_decref(rows);
	return state;
}

void console_refresh(struct console *console)
{
	/* A guest that no answer names any more is gone; its place stays until the program ends, so that a digit never
	 * means another guest than it did a moment ago. */
	for (int i = 0; i < console->guest_count; i++)
		strcpy(console->guests[i].state, "gone");
	json_decref(console->company);
	json_decref(console->personal);
	console->company = refresh_one(console, console->company_socket, false);
	console->personal = refresh_one(console, console->personal_socket, true);
	for (int i = 0; i < console->guest_count; i++) {
		if (strcmp(console->guests[i].state, "running") != 0) {
			disconnect(&console->guests[i]);
			console->guests[i].is_taken = false;
		}
		connect_guest(console, &console->guests[i]);
	}
}

/** Hands on what waits for a guest, as much as it takes now: the person's console never waits for it. */
static void pass_typed(struct console_guest *guest)
{
	while (guest->typed_bytes > 0) {
		ssize_t size = write(guest->file, guest->typed, guest->typed_bytes);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0) {
			if (errno != EAGAIN)
				disconnect(guest);
			return;
		}
		guest->typed_bytes -= (size_t)size;
		memmove(guest->typed, guest->typed + size, guest->typed_bytes);
	}
}

/** Sends a key, whole or not at all. */
static void send_to_guest(struct console_guest *guest, const char *bytes, size_t size)
{
	if (guest->file < 0 || size > sizeof(guest->typed) - guest->typed_bytes)
		return;
	memcpy(guest->typed + guest->typed_bytes, bytes, size);
	guest->typed_bytes += size;
	pass_typed(guest);
}

static void to_overview(struct console *console)
{
	form_close(console);
	console->front = -1;
}

/** Carries out one whole key: ours, or the guest's that is in front. */
static void take_key(struct console *console, const char *key, size_t bytes)
{
	if (bytes == 2 && key[0] == ESCAPE && key[1] >= '1' && key[1] <= '9')
		console_to_front(console, key[1] - '1');
	else if ((bytes == 2 && key[0] == ESCAPE && key[1] == '0') ||
		 (bytes == strlen(KEY_OVERVIEW) && memcmp(key, KEY_OVERVIEW, bytes) == 0))
		to_overview(console);
	else if (console->front >= 0)
		send_to_guest(&console->guests[console->front], key, bytes);
	else if (console->form.kind)
		form_key(console, key, bytes);
	else
		console_overview_key(console, key, bytes);
}

/** Whether an escape sequence typed so far needs more bytes (ECMA-48, 5.4; SS3 as VT220 sends it). */
static bool is_unfinished(const char *key, size_t bytes)
{
	if (key[0] != ESCAPE)
		return false;
	if (bytes == 1)
		return true;
	if (key[1] == '[')
		return bytes == 2 || (key[bytes - 1] < '@' && bytes < 15);
	return key[1] == 'O' && bytes == 2;
}

static void take_typed(struct console *console, const char *typed, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		console->key[console->key_bytes++] = typed[i];
		if (is_unfinished(console->key, console->key_bytes))
			continue;
		take_key(console, console->key, console->key_bytes);
		console->key_bytes = 0;
	}
}

/** Whether a connection that ended was replaced by another one (monitor/console.h): it was not hung up on. */
static bool was_replaced(int file)
{
	struct pollfd end = {.fd = file, .events = POLLRDHUP};

	return poll(&end, 1, 0) == 1 && !(end.revents & (POLLHUP | POLLERR));
}

static void read_guest(struct console_guest *guest)
{
	uint8_t bytes[READ_BYTES];
	char answer[32];
	ssize_t size = read(guest->file, bytes, sizeof(bytes));

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		guest->is_taken = size == 0 && was_replaced(guest->file);
		disconnect(guest);
		return;
	}
	vt_write(&guest->screen, bytes, (size_t)size);
	vt_answer(&guest->screen, answer);
	send_to_guest(guest, answer, strlen(answer));
}

static void measure(struct console *console)
{
	struct winsize size;

	size_changed = 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 5 || size.ws_col < 20)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	console->rows = size.ws_row > VT_ROWS_MAX ? VT_ROWS_MAX : size.ws_row;
	console->columns = size.ws_col > VT_COLUMNS_MAX ? VT_COLUMNS_MAX : size.ws_col;
	for (int i = 0; i < console->guest_count; i++)
		if (!vt_resize(&console->guests[i].screen, console->rows - 1, console->columns))
			console->ends = true;
}

static void draw(const struct console *console)
{
	size_t bytes = 0, done = 0;
	char *text = console_draw(console, &bytes);

	while (text && done < bytes) {
		ssize_t size = write(STDOUT_FILENO, text + done, bytes - done);

		if (size < 0 && errno != EINTR)
			break;
		done += size > 0 ? (size_t)size : 0;
	}
	free(text);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void loop(struct console *console)
{
	long long asked = now_ms();

	while (!console->ends && !asked_to_end) {
		struct pollfd files[1 + CONSOLE_GUESTS_MAX] = {{.fd = STDIN_FILENO, .events = POLLIN}};
		int count = console->guest_count;
		char typed[256];

		for (int i = 0; i < count; i++)
			files[1 + i] = (struct pollfd){.fd = console->guests[i].file,
						       .events = POLLIN | (console->guests[i].typed_bytes ? POLLOUT : 0)};
		/* A lone Escape is a key of its own when nothing follows it at once. */
		if (poll(files, (nfds_t)count + 1, console->key_bytes ? 50 : 500) == 0 && console->key_bytes) {
			take_key(console, console->key, console->key_bytes);
			console->key_bytes = 0;
		}
		if (files[0].revents) {
			ssize_t size = read(STDIN_FILENO, typed, sizeof(typed));

			if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN))
				return;
			take_typed(console, typed, size > 0 ? (size_t)size : 0);
		}
		for (int i = 0; i < count; i++) {
			struct console_guest *guest = &console->guests[i];

			if (files[1 + i].revents & POLLOUT && guest->file == files[1 + i].fd)
				pass_typed(guest);
			if (files[1 + i].revents & ~POLLOUT && guest->file == files[1 + i].fd)
				read_guest(guest);
		}
		if (size_changed)
			measure(console);
		console_tend_errand(console);
		if (now_ms() - asked >= REFRESH_MS) {
			console_refresh(console);
			asked = now_ms();
		}
		draw(console);
	}
}

static int run(const struct cli_context *context)
{
	struct console console = {.front = -1};
	struct termios before, raw;
	struct sigaction action = {.sa_handler = on_signal};
	const char *company = cli_value(context, "socket"), *personal = cli_value(context, "personal-socket");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
		return cli_usage(context, "this is for a terminal; for scripts there is bulkhead guest list --json");
	if (snprintf(console.company_socket, sizeof(console.company_socket), "%s", company ? company : AGENT_LINK_COMPANY) >=
		    (int)sizeof(console.company_socket) ||
	    snprintf(console.personal_socket, sizeof(console.personal_socket), "%s",
		     personal ? personal : AGENT_LINK_PERSONAL) >= (int)sizeof(console.personal_socket))
		return cli_usage(context, "the socket's path is too long");
	sigaction(SIGWINCH, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	raw = before;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	measure(&console);
	console_refresh(&console);
	draw(&console);
	loop(&console);
	form_close(&console);
	for (int i = 0; i < console.guest_count; i++) {
		disconnect(&console.guests[i]);
		vt_free(&console.guests[i].screen);
	}
	json_decref(console.company);
	json_decref(console.personal);
	fputs("\033[0m\033[?7h\033[?25h\033[2J\033[H", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	return CLI_OK;
}

static const struct cli_option options[] = {
	{"socket", "PATH", "control socket of the company's agent (default " AGENT_LINK_COMPANY ")", 0, false},
	{"personal-socket", "PATH", "control socket of the agent of your own guests (default " AGENT_LINK_PERSONAL ")", 0,
	 false},
	{0},
};

const struct cli_command console_commands[] = {
	{"console", "", "show the guests on this screen and bring one to the front",
	 "The last line of the screen is Bulkhead's alone and says where keys go. Alt-1 to Alt-9 bring a guest to the front, "
	 "F12 or Alt-0 the overview. There arrows choose a guest, and h lists the keys: starting and ending it, going back to the "
	 "release before, words that bring its data back, its backup and what comes back from one, enrolling this PC, and making, "
	 "describing anew and removing guests of one's own. What is asked for then is a token, an image or a backup on a disk that "
	 "you plug in, and nine words; Esc gives up.\n\n"
	 "A guest is shown by one console at a time, the one that came last: the last line of the other says so, and Alt with its "
	 "number takes it back.\n\n"
	 "What a guest writes is drawn from a terminal in memory, never passed on, so it cannot paint over that line.",
	 NULL, options, 0, 0, run},
	{0},
};
