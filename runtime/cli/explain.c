/* One row per code of MOX_ERRORS; a test holds them together. Written for who reads it at two in the morning:
 * what is known, the usual causes first, then what to type. */
#include "runtime/cli/explain.h"

#include <stddef.h>

const mox_explanation mox_explanations[] = {
    {MOX_E_INTERNAL, "moxie met a state that its own rules exclude: a bug in moxie, whatever the input.",
     "a defect in moxie\n",
     "run the same command again: does it repeat?\n"
     "report it with the whole message, `moxie --version` and `moxie info MODEL`\n"},
    {MOX_E_NUMERIC, "A computation produced NaN or infinity. The message names the layer and the operation.",
     "a damaged model file\na model made for f32 whose keys do not fit into --kv f16\n",
     "moxie verify MODEL           does every way of running it agree?\n"
     "moxie run MODEL --kv f32     if attention is named\n"
     "download the file again and compare its checksum\n"},
    {MOX_E_CANCELLED, "The work was stopped before it was done, on request.",
     "Ctrl-C, or SIGTERM from outside\n", "nothing is wrong; what had been printed is whole\n"},
    {MOX_E_THREAD, "The system did not let moxie start a thread.",
     "a limit on processes (ulimit -u, a container's pids limit)\nmemory is exhausted\n",
     "moxie run MODEL --threads 2\nraise the limit: ulimit -u\n"},
    {MOX_E_ARG, "A value makes no sense where it is used; the message says which and why.",
     "a combination of options that each are fine alone\na text that is shorter than a test wants\n",
     "moxie COMMAND --help-all     ranges and defaults\n"},
    {MOX_E_OPTION, "A word on the command line is no option of this command, or its value cannot be read.",
     "a misspelt option\nan option of another command\na size without a unit: 12 instead of 12G\n",
     "moxie COMMAND --help\nmoxie help COMMAND           every option\n"},
    {MOX_E_CONFLICT, "Two options were given that say different things about the same matter.",
     "--ram together with --ram-experts\n--json while another output goes to stdout\n",
     "leave one of them out; moxie config show --origin says what comes from files\n"},
    {MOX_E_CONTEXT_FULL,
     "Prompt and answer together have more tokens than the context. Nothing is cut silently, so this stops.",
     "a long prompt\na small --ctx (its default is at most 4096)\n",
     "moxie run MODEL --ctx N      N is in the message; more context takes memory from experts\n"
     "shorten the prompt\n"},
    {MOX_E_TOKEN, "A token id is not a number, or beyond the model's vocabulary.",
     "ids made by another model's tokenizer\na file of ids that is not decimal numbers\n",
     "moxie tokenize MODEL < text.txt > ids.txt\nmoxie info MODEL             the size of the vocabulary\n"},
    {MOX_E_CONFIG,
     "A configuration file or a MOXIE_ variable holds a setting that cannot be used. The message "
     "begins with the file and line, or the variable.",
     "a misspelt key\na value that the option does not take\na file that is not key = value\n",
     "moxie config path            which files are read\n"
     "moxie config show --config none --origin\n"
     "moxie COMMAND --config none  leaves all files out\n"},
    {MOX_E_FORMAT, "The file looks like something moxie reads, but its contents contradict each other.",
     "a damaged download\na program that writes the format wrongly\n",
     "download the file again and compare its checksum\nmoxie info FILE\n"},
    {MOX_E_TRUNCATED, "The file ends before what its header promises.",
     "a download that was interrupted or still runs\na full disk when it was copied\n",
     "ls -l FILE                   compare with the size at its source\nresume the download\n"},
    {MOX_E_NOT_GGUF, "The file is not GGUF at all. The message says what it seems to be.",
     "a Git LFS pointer instead of the file\na web page that was saved instead of a download\n"
     "another format: safetensors, an archive, a legacy ggml file\n",
     "git lfs pull                 for a pointer\nconvert it to GGUF, or download the GGUF file itself\n"},
    {MOX_E_VERSION, "A GGUF version that moxie does not read: it reads 2 and 3, little-endian.",
     "a file of 2023 (version 1)\na big-endian file\na version from the future\n",
     "convert the model again with a current tool\n"},
    {MOX_E_LIMIT, "A count or size in the file is beyond what any real model has, so it is refused unread.",
     "a damaged or malicious file\n",
     "download the file again from a source you trust\nreport it if the file is a real model\n"},
    {MOX_E_KEY, "A metadata key that the model needs is missing, has the wrong kind or an impossible value.",
     "a conversion with an old tool\nan architecture variant that needs more keys\n",
     "moxie info MODEL --kv        the keys it has\nconvert the model again with a current tool\n"},
    {MOX_E_TENSOR, "A tensor that the model needs is missing, has the wrong shape or lies outside the file.",
     "a damaged or incomplete file\na conversion with an old tool\n",
     "moxie info MODEL --tensors   the tensors it has\nconvert the model again, or download it again\n"},
    {MOX_E_TYPE, "A tensor has a type (quantisation) that moxie does not compute with.",
     "a quantisation newer or rarer than those supported\n",
     "get another quantisation of the model, such as Q4_K_M\n"},
    {MOX_E_ARCH, "The architecture named in the file is not one that moxie runs.",
     "a dense model: moxie is for Mixture-of-Experts\na family that is not supported yet\n",
     "moxie info MODEL             names the architecture\n"},
    {MOX_E_TOKENIZER, "The tokenizer in the file is of an unknown kind, is malformed, or is missing.",
     "a model converted without its tokenizer\na kind that is not supported yet\n",
     "moxie logits MODEL --tokens  works with ids, without a tokenizer\nconvert the model again\n"},
    {MOX_E_SPLIT, "The model has several files, and one of them is missing or belongs to another model.",
     "not all parts were downloaded\nfiles were renamed\n",
     "put all parts, NAME-00001-of-0000N.gguf, into one folder with their original names\n"},
    {MOX_E_TEMPLATE,
     "Messages are put into the form that the model was trained with, its chat template. This model has "
     "none, or "
     "one that failed: the message says where. Guessing another form would give worse answers without saying "
     "so.",
     "a template that refuses such a conversation\na part of Jinja that is not supported\n"
     "a base model, which continues texts\nan old file without a template\n",
     "moxie info MODEL --template             what the file says\n"
     "moxie run MODEL --raw -p TEXT           continue a text as it is\n"
     "moxie run MODEL --chat-template NAME|FILE  another template\n"},
    {MOX_E_NO_FIT,
     "The memory that was given is less than the model's floor: dense part, context, buffers and "
     "room for the experts of one step.",
     "--ram below the floor, which the message names\nother programs use the memory\n"
     "a large --ctx, or --kv f32\na container's memory limit\n",
     "moxie run MODEL --ram min    the least that works\nmoxie run MODEL --ctx 2048   less context\n"
     "moxie run MODEL --kv q8_0    half of the memory for keys and values\nmoxie doctor                 what "
     "is free\n"},
    {MOX_E_NO_MEMORY, "The system refused memory that the plan had found free.",
     "another program took it in the meantime\nulimit -v, or vm.overcommit_memory = 2\n",
     "moxie doctor\nmoxie run MODEL --ram SIZE   with a smaller size\n"},
    {MOX_E_DEVICE, "There is no device that can do what was asked.",
     "a device was named that this machine lacks\n", "moxie doctor\n"},
    {MOX_E_ISA, "The processor lacks instructions that were asked for with --isa.",
     "--isa avx512 on a machine with AVX2\nan emulator or virtual machine that hides instructions\n",
     "leave --isa out: the best present is taken, and the results are the same bits\nmoxie doctor\n"},
    {MOX_E_IO, "Reading from the file failed, again and again. The message has the system's reason.",
     "a failing disk or cable\na network file system that went away\n",
     "dmesg | tail                 what the kernel says about the disk\ncopy the model to another disk\n"},
    {MOX_E_OPEN, "A file cannot be opened. The message has the system's reason.",
     "a misspelt path\nmissing permission\na folder where a file is expected\n", "ls -l FILE\n"},
    {MOX_E_CHANGED, "The model file was replaced, cut or written while moxie was using it.",
     "a download or copy onto the same name\na package that was updated\n",
     "run the command again when the file is at rest\n"},
    {MOX_E_CORRUPT, "An expert that was read again has other bytes than the first time.",
     "a failing disk, cable or memory module\na file system that returns stale data\n",
     "moxie run MODEL --verify always   to see whether it repeats\n"
     "check the disk (smartctl -a) and the memory (memtest)\n"},
    {MOX_E_WRITE, "Output could not be written.", "a full disk\na closed pipe\nmissing permission\n",
     "df -h .\nls -ld the folder\n"},
    {MOX_E_CHECK, "A check that was asked for did not hold. The command itself worked.",
     "doctor --strict found warnings\nverify found two different answers\nbench was slower than allowed\n",
     "read the lines above the error: each has its own advice\n"},
    {MOX_OK, NULL, NULL, NULL},
};
