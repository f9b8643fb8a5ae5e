/* libelf and zlib for libbpf, loaded when it first calls them. Only a recording does: the gate's
 * verbs, which run for every container, then start without the two. */
#include <dlfcn.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>

/* Type, name, parameters, arguments, and what is returned where the libraries can't be loaded: what
 * each of them returns when it fails. */
#define LIBELF(X) \
	X(Elf *, elf_begin, (int fd, Elf_Cmd cmd, Elf *ref), (fd, cmd, ref), NULL) \
	X(int, elf_end, (Elf *elf), (elf), 0) \
	X(const char *, elf_errmsg, (int error), (error), "libelf.so.1 or libz.so.1 can't be loaded") \
	X(Elf_Data *, elf_getdata, (Elf_Scn *section, Elf_Data *data), (section, data), NULL) \
	X(int, elf_getphdrnum, (Elf *elf, size_t *number), (elf, number), -1) \
	X(Elf_Scn *, elf_getscn, (Elf *elf, size_t index), (elf, index), NULL) \
	X(int, elf_getshdrnum, (Elf *elf, size_t *number), (elf, number), -1) \
	X(int, elf_getshdrstrndx, (Elf *elf, size_t *index), (elf, index), -1) \
	X(Elf_Kind, elf_kind, (Elf *elf), (elf), ELF_K_NONE) \
	X(Elf *, elf_memory, (char *image, size_t size), (image, size), NULL) \
	X(size_t, elf_ndxscn, (Elf_Scn *section), (section), SHN_UNDEF) \
	X(Elf_Scn *, elf_nextscn, (Elf *elf, Elf_Scn *section), (elf, section), NULL) \
	X(Elf_Data *, elf_rawdata, (Elf_Scn *section, Elf_Data *data), (section, data), NULL) \
	X(char *, elf_strptr, (Elf *elf, size_t section, size_t offset), (elf, section, offset), NULL) \
	X(unsigned int, elf_version, (unsigned int version), (version), EV_NONE) \
	X(Elf64_Ehdr *, elf64_getehdr, (Elf *elf), (elf), NULL) \
	X(Elf64_Shdr *, elf64_getshdr, (Elf_Scn *section), (section), NULL) \
	X(int, gelf_getclass, (Elf *elf), (elf), ELFCLASSNONE) \
	X(GElf_Ehdr *, gelf_getehdr, (Elf *elf, GElf_Ehdr *header), (elf, header), NULL) \
	X(size_t, gelf_getnote, (Elf_Data *data, size_t offset, GElf_Nhdr *note, size_t *name, size_t *desc), \
	  (data, offset, note, name, desc), 0) \
	X(GElf_Phdr *, gelf_getphdr, (Elf *elf, int index, GElf_Phdr *header), (elf, index, header), NULL) \
	X(GElf_Shdr *, gelf_getshdr, (Elf_Scn *section, GElf_Shdr *header), (section, header), NULL) \
	X(GElf_Sym *, gelf_getsym, (Elf_Data *data, int index, GElf_Sym *symbol), (data, index, symbol), NULL) \
	X(GElf_Verdaux *, gelf_getverdaux, (Elf_Data *data, int offset, GElf_Verdaux *entry), (data, offset, entry), NULL) \
	X(GElf_Verdef *, gelf_getverdef, (Elf_Data *data, int offset, GElf_Verdef *entry), (data, offset, entry), NULL) \
	X(GElf_Versym *, gelf_getversym, (Elf_Data *data, int index, GElf_Versym *entry), (data, index, entry), NULL)

/* zlib.h makes macros of some of these names, so it is not included. */
#define ZLIB(X) \
	X(void *, gzopen64, (const char *path, const char *mode), (path, mode), NULL) \
	X(char *, gzgets, (void *file, char *line, int size), (file, line, size), NULL) \
	X(int, gzclose, (void *file), (file), -1)

#define MEMBER(type, name, parameters, arguments, failed) type(*name) parameters;
static struct {
	LIBELF(MEMBER)
	ZLIB(MEMBER)
} real;

/* Whether every function is there. Only one thread of the recorder calls libbpf. */
static bool load(void)
{
	static enum { UNTRIED, LOADED, MISSING } state;

#define FIND(type, name, parameters, arguments, failed) \
	found = found && (*(void **)&real.name = dlsym(library, #name)) != NULL;
	if (state == UNTRIED) {
		void *library = dlopen("libelf.so.1", RTLD_NOW | RTLD_LOCAL);
		bool found = library != NULL;
		LIBELF(FIND)
		library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
		found = found && library != NULL;
		ZLIB(FIND)
		state = found ? LOADED : MISSING;
	}
	return state == LOADED;
}

#define FORWARD(type, name, parameters, arguments, failed) \
	type name parameters \
	{ \
		return load() ? real.name arguments : failed; \
	}
LIBELF(FORWARD)
ZLIB(FORWARD)
