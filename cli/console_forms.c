/* The console's forms: what each asks, what can be chosen in it, and the request that it becomes. See console_form.h. */
#include "console.h"
#include "output.h"
#include "pc_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STICKS_MAX 32 /* disks and parts */

/* ---- what lies on disks that are plugged in ---- */

static struct form_source *add_source(struct console_form *form)
{
	struct form_source *source = &form->sources[form->source_count];

	if (form->source_count == FORM_SOURCES_MAX)
		return NULL;
	memset(source, 0, sizeof(*source));
	source->file = -1;
	form->source_count++;
	return source;
}

/** Names a disk or a part of one as a person may know it. */
static void describe(struct form_source *source, const char *what, const struct stick *stick)
{
	char size[16];

	snprintf(source->text, sizeof(source->text), "%s%.31s (%s%s%.31s)", what, stick->name,
		 output_bytes(stick->size_bytes, size), stick->model[0] ? ", " : "", stick->model);
}

static bool ends_in(const char *name, const char *end)
{
	size_t length = strlen(name), end_length = strlen(end);

	return name[0] != '.' && length > end_length && strcmp(name + length - end_length, end) == 0;
}

/** Adds the files at the root of every one's file system whose names end in one of @ends (up to NULL). */
static void add_files(struct console_form *form, const struct stick *sticks, int count, const char *const *ends)
{
	for (int i = 0; i < count; i++) {
		int root = stick_open(sticks[i].name, false, geteuid()), found;
		struct dirent **entries;

		found = root >= 0 ? scandirat(root, ".", &entries, NULL, alphasort) : -1;
		for (int j = 0; j < found; j++) {
			const char *name = entries[j]->d_name;
			bool fits = false;
			struct form_source *source;

			for (const char *const *end = ends; *end; end++)
				fits = fits || ends_in(name, *end);
			source = fits ? add_source(form) : NULL;
			if (source) {
				source->file = openat(root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
				snprintf(source->text, sizeof(source->text), "the file %.60s on %.31s", name, sticks[i].name);
			}
			free(entries[j]);
		}
		if (found >= 0)
			free(entries);
		if (root >= 0)
			close(root);
	}
}

static void add_whole_disks(struct console_form *form, const struct stick *sticks, int count)
{
	for (int i = 0; i < count; i++) {
		struct form_source *source = sticks[i].is_part ? NULL : add_source(form);
		char path[STICK_NAME_BYTES + 8];

		if (!source)
			continue;
		snprintf(path, sizeof(path), "/dev/%.31s", sticks[i].name);
		source->file = open(path, O_RDONLY | O_CLOEXEC);
		describe(source, "all of the disk ", &sticks[i]);
	}
}

/* ---- enrolment ---- */

static void look_for_tokens(struct console *console)
{
	struct stick sticks[STICKS_MAX];
	int count = stick_find(sticks, STICKS_MAX);

	add_files(&console->form, sticks, count, (const char *const[]){".token", NULL});
	if (!console->form.fields[1][0])
		pc_name(console->form.fields[1]);
}

static bool submit_enrolment(struct console *console)
{
	const struct console_form *form = &console->form;

	return console_errand(console, console->company_socket, "this PC", "enrolled; its machines arrive in the background",
			      json_pack("{s:s, s:s, s:s}", "call", "enrol", "token", form->fields[0], "name", form->fields[1]),
			      -1);
}

const struct form_kind form_enrol = {
	.title = "Make this PC a device of your company",
	.text = "An administrator gives you a token: one word that begins with bh1-. It works once, and says where the server is "
		"and how this PC knows it from a false one.",
	.choice = "Type it, or put it into a file whose name ends in .token on a USB stick, and choose that:",
	.may_type = true,
	.fields = {{.label = "Token"}, {.label = "Name that administrators see"}},
	.look = look_for_tokens,
	.submit = submit_enrolment,
};

/* ---- a machine of one's own ---- */

static void look_for_disks(struct console *console)
{
	struct stick sticks[STICKS_MAX];
	int count = stick_find(sticks, STICKS_MAX); /* before a file keeps a disk in use */

	add_files(&console->form, sticks, count, (const char *const[]){".raw", ".img", NULL});
	add_whole_disks(&console->form, sticks, count);
}

/** "512M" or "2G" in MiB; 0: it is no such size. */
static unsigned long long mib_of(const char *text)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if ((*end == 'G' || *end == 'g') && number < 1024)
		return end[1] ? 0 : number << 10;
	return (*end == 'M' || *end == 'm') && !end[1] && number < 1 << 20 ? number : 0;
}

static int take_file(struct console_form *form)
{
	int file = form->sources[form->source].file;

	form->sources[form->source].file = -1;
	return file;
}

static bool submit_machine(struct console *console)
{
	struct console_form *form = &console->form;
	unsigned long long memory = mib_of(form->fields[1]);

	if (memory == 0) {
		snprintf(form->wrong, sizeof(form->wrong), "its memory is a size such as 512M or 2G");
		return false;
	}
	return console_errand(console, console->personal_socket, form->fields[0], "made; s starts it",
			      json_pack("{s:s, s:s, s:s, s:{s:I}}", "call", "personal", "do", "create", "guest",
					form->fields[0], "machine", "memory_mib", (json_int_t)memory),
			      take_file(form));
}

const struct form_kind form_make = {
	.title = "Make a machine of your own",
	.text = "It is made from a disk image: a raw one, in a file whose name ends in .raw or .img on a disk that you plug in, or "
		"all of a disk. Your company neither sees it nor learns of it.",
	.choice = "What to make it from:",
	.fields = {{.label = "Its name", .usual = "personal"}, {.label = "Its memory", .usual = "2G"}},
	.look = look_for_disks,
	.submit = submit_machine,
};

/* ---- backups of one's own ---- */

#define FOLDER "bulkhead" /* of backups, on a disk of the owner's */

static uid_t own_agent(const struct console *console)
{
	struct stat status;

	return stat(console->personal_socket, &status) == 0 ? status.st_uid : geteuid();
}

/** The folder of backups on a plugged-in disk, made if it is not there, where the person's agent may write; negative errno. */
static int open_folder(struct console *console, const char *stick)
{
	uid_t owner = own_agent(console);
	int root = stick_open(stick, true, owner), folder = -1;

	if (root < 0)
		return root;
	mkdirat(root, FOLDER, 0700);
	folder = openat(root, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	close(root);
	/* FAT has no owners; there it is the agent's by how it was mounted. */
	if (folder >= 0 && fchown(folder, owner, (gid_t)-1) != 0 && errno != EPERM) {
		close(folder);
		folder = -1;
	}
	return folder >= 0 ? folder : -errno;
}

static bool disk_refused(struct console *console, const char *stick, int result)
{
	snprintf(console->form.wrong, sizeof(console->form.wrong), "%s cannot be written: %s", stick, strerror(-result));
	return false;
}

static void look_for_places(struct console *console)
{
	struct stick sticks[STICKS_MAX];
	int count = stick_find(sticks, STICKS_MAX);

	for (int i = 0; i < count; i++) {
		int root = stick_open(sticks[i].name, false, geteuid());
		struct form_source *source = root >= 0 ? add_source(&console->form) : NULL;

		if (root >= 0)
			close(root);
		if (!source)
			continue;
		memcpy(source->stick, sticks[i].name, sizeof(source->stick));
		describe(source, "", &sticks[i]);
	}
}

static bool submit_save(struct console *console)
{
	const struct form_source *place = &console->form.sources[console->form.source];
	const char *guest = console->guests[console->chosen].name;
	int folder = open_folder(console, place->stick);

	if (folder < 0)
		return disk_refused(console, place->stick, folder);
	return console_errand(console, console->personal_socket, guest, "backed up; the disk may be pulled",
			      json_pack("{s:s, s:s, s:s}", "call", "personal", "do", "backup", "guest", guest), folder);
}

const struct form_kind form_save = {
	.title = "Back your own machine up",
	.text = "It goes, encrypted, into the folder " FOLDER " on a disk of yours; the rest of that disk stays as it is. The first "
		"time you get nine words: with them and the disk it comes back, here or on another PC.",
	.choice = "The disk, plugged in, with a file system (FAT, exFAT, ext4):",
	.look = look_for_places,
	.submit = submit_save,
};

/** Adds the guests that have a whole backup on a file system. */
static void add_backups(struct console_form *form, const char *stick)
{
	int root = stick_open(stick, false, geteuid()), found;
	struct dirent **entries;

	found = root >= 0 ? scandirat(root, FOLDER, &entries, NULL, alphasort) : -1;
	for (int i = 0; i < found; i++) {
		const char *guest = entries[i]->d_name;
		struct form_source *source;
		char path[512];

		snprintf(path, sizeof(path), FOLDER "/%s/newest", guest);
		source = guest[0] != '.' && strlen(guest) < sizeof(source->guest) && faccessat(root, path, F_OK, 0) == 0
			     ? add_source(form)
			     : NULL;
		if (source) {
			snprintf(source->stick, sizeof(source->stick), "%.31s", stick);
			memcpy(source->guest, guest, strlen(guest) + 1);
			snprintf(source->text, sizeof(source->text), "%.60s, your own, from %.31s", guest, stick);
		}
		free(entries[i]);
	}
	if (found >= 0)
		free(entries);
	if (root >= 0)
		close(root);
}

static void look_for_backups(struct console *console)
{
	struct stick sticks[STICKS_MAX];
	int count = stick_find(sticks, STICKS_MAX);

	for (int i = 0; i < console->guest_count; i++) {
		const struct console_guest *guest = &console->guests[i];
		struct form_source *source = guest->is_personal ? NULL : add_source(&console->form);

		if (!source)
			continue;
		snprintf(source->guest, sizeof(source->guest), "%s", guest->name);
		snprintf(source->text, sizeof(source->text), "the data of %.40s, from your company's server", guest->name);
	}
	for (int i = 0; i < count; i++)
		add_backups(&console->form, sticks[i].name);
}

static bool submit_get_back(struct console *console)
{
	struct console_form *form = &console->form;
	const struct form_source *source = &form->sources[form->source];
	const char *words = form->fields[0];
	int folder;

	if (words[0] || source->stick[0])
		if (!phrase_holds(words, form->wrong))
			return false;
	if (!source->stick[0])
		return console_errand(console, console->company_socket, source->guest, "restored; this PC writes its data now",
				      json_pack("{s:s, s:s, s:s*}", "call", "restore", "guest", source->guest, "phrase",
						words[0] ? words : NULL),
				      -1);
	folder = open_folder(console, source->stick);
	if (folder < 0)
		return disk_refused(console, source->stick, folder);
	return console_errand(console, console->personal_socket, source->guest, "brought back; s starts it",
			      json_pack("{s:s, s:s, s:s, s:s}", "call", "personal", "do", "bring-back", "guest",
					source->guest, "phrase", words),
			      folder);
}

const struct form_kind form_get_back = {
	.title = "Bring data back from its newest backup",
	.text = "What is on this PC of that machine's data is replaced; it must not run. A machine of your own must not be here. "
		"The words may be left out where this PC has the key.",
	.choice = "Whose:",
	.fields = {{.label = "Its nine words", .can_be_empty = true}},
	.look = look_for_backups,
	.submit = submit_get_back,
};
